"""OME-Zarr: what is written comes back, from several processes, whole or not at all."""

from __future__ import annotations

import copy
import json
import multiprocessing

import numpy as np
import pytest
import zarr

from microtome.data.stores import (
    ImageReadError,
    LabelStore,
    create_image,
    create_labels,
    open_labels,
)
from microtome.data.stores.downsampling import reduced, strides_for
from microtome.data.stores.zarr_chunks import overlapping
from microtome.geometry import window

VERSIONS = ("0.4", "0.5")
SHAPES = {2: (150, 170), 3: (20, 70, 90)}


def numbers(shape, high=2**40, dtype="uint64"):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def regions(store):
    for place in overlapping(window(store.shape), store.chunk):
        yield tuple(
            slice(p * c, min((p + 1) * c, s))
            for p, c, s in zip(place, store.chunk, store.shape, strict=True)
        )


def written(path, values, **options):
    store = create_labels(path, values.shape, **{"dtype": values.dtype, "chunk": 64} | options)
    for region in regions(store):
        store.write(region, values[region])
    store.finish()
    return store


def attributes(path, version):
    text = (path / (".zattrs" if version == "0.4" else "zarr.json")).read_text()
    return json.loads(text) if version == "0.4" else json.loads(text)["attributes"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dims", [2, 3])
def test_labels_come_back_by_region_with_their_spacing(tmp_path, version, dims):
    values, spacing = numbers(SHAPES[dims]), (2.0, 0.5, 0.25)[-dims:]
    written(tmp_path / "a.zarr", values, spacing=spacing, version=version)
    labels = open_labels(tmp_path / "a.zarr")
    assert (labels.shape, labels.spacing, labels.name) == (values.shape, spacing, "a")
    assert labels.dtype == np.uint64, "ids above 2^32 stay"
    part = tuple(slice(3, s - 5) for s in values.shape)
    assert (labels.read(part) == values[part]).all()
    assert (zarr.open_group(tmp_path / "a.zarr", mode="r")["0"][part] == values[part]).all()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_store_that_was_not_finished_is_refused(tmp_path, version):
    store = create_labels(tmp_path / "a.zarr", (64, 100), spacing=None, version=version, chunk=64)
    with pytest.raises(ImageReadError, match=r"a\.zarr.*never finished"):
        open_labels(tmp_path / "a.zarr")
    first, second = regions(store)
    store.write(first, np.zeros((64, 64), int))
    assert (store.read(first) == 0).all() and store.missing() == [second]
    with pytest.raises(ImageReadError, match=r"1 chunks were never written.*\[0:64, 64:100\]"):
        store.finish()
    again = LabelStore(tmp_path / "a.zarr")  # as after a kill
    again.write(second, np.full((64, 36), 7, np.uint16))
    again.finish()
    labels = open_labels(tmp_path / "a.zarr")
    assert labels.spacing is None and labels.read(window((64, 100))).sum() == 7 * 64 * 36


@pytest.mark.parametrize("version", VERSIONS)
def test_a_missing_chunk_of_a_finished_store_is_an_error(tmp_path, version):
    written(tmp_path / "a.zarr", numbers((64, 128)), spacing=1, version=version)
    (file,) = (tmp_path / "a.zarr" / "0").glob("0/1" if version == "0.4" else "c/0/1")
    file.unlink()
    labels = open_labels(tmp_path / "a.zarr")
    assert labels.read((slice(0, 64), slice(0, 64))).any(), "other chunks can still be read"
    with pytest.raises(ImageReadError, match="is missing, though the store says it is complete"):
        labels.read((slice(0, 64), slice(60, 70)))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_noticed(tmp_path, version, where):
    values = numbers((64, 64))
    written(tmp_path / "a.zarr", values, spacing=1, version=version)
    (file,) = (tmp_path / "a.zarr" / "0").glob("0/0" if version == "0.4" else "c/0/0")
    damaged = bytearray(file.read_bytes())
    damaged[int(where * len(damaged))] ^= 4
    file.write_bytes(damaged)
    with pytest.raises(ImageReadError, match="cannot be read"):
        open_labels(tmp_path / "a.zarr").read(window((64, 64)))


def test_a_truncated_file_is_an_error(tmp_path):
    written(tmp_path / "a.zarr", numbers((64, 64)), spacing=1)
    file = tmp_path / "a.zarr/0/c/0/0"
    for length in (0, 3, 100, file.stat().st_size - 1):
        file.write_bytes(file.read_bytes()[:length])
        with pytest.raises(ImageReadError, match="cannot be read"):
            open_labels(tmp_path / "a.zarr").read(window((64, 64)))


def test_writing_is_by_whole_chunks_and_checked(tmp_path):
    store = create_labels(tmp_path / "a.zarr", (64, 100), spacing=1, dtype="uint8", chunk=64)
    with pytest.raises(ValueError, match="cuts through chunks"):
        store.write((slice(0, 64), slice(0, 50)), np.zeros((64, 50), int))
    with pytest.raises(ValueError, match="expected values of shape"):
        store.write((slice(0, 64), slice(0, 64)), np.zeros((64, 63), int))
    with pytest.raises(ValueError, match="up to 256 do not fit uint8"):
        store.write((slice(0, 64), slice(0, 64)), np.full((64, 64), 256))
    with pytest.raises(FileExistsError, match="there already"):
        create_labels(tmp_path / "a.zarr", (64, 100), spacing=1)
    with pytest.raises(ValueError, match="labels are integers"):
        create_labels(tmp_path / "b.zarr", (64, 100), spacing=1, dtype="float32")


def write_part(store, region, value):
    store.write(region, np.full([r.stop - r.start for r in region], value))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_write_at_once(tmp_path, start):
    store = create_labels(tmp_path / "a.zarr", (128, 200), spacing=1, chunk=64)
    context = multiprocessing.get_context(start)
    parts = list(regions(store))
    running = [
        context.Process(target=write_part, args=(copy.deepcopy(store), region, n))
        for n, region in enumerate(parts[:2], start=1)
    ]
    for process in running:
        process.start()
    for n, region in enumerate(parts[2:], start=3):
        write_part(store, region, n)
    for process in running:
        process.join()
    store.finish()
    labels = open_labels(tmp_path / "a.zarr")
    assert [int(labels.read(r).max()) for r in parts] == list(range(1, len(parts) + 1))


@pytest.mark.parametrize("version", VERSIONS)
def test_pyramid_respects_anisotropy(tmp_path, version):
    values = numbers((40, 600, 300), high=2**20, dtype="uint32")
    written(tmp_path / "a.zarr", values, spacing=(1.0, 0.25, 0.25), version=version, chunk=512)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert [group[str(n)].shape for n in range(3)] == [values.shape, (40, 300, 150), (40, 150, 75)]
    assert (group["2"][:] == values[:, ::4, ::4]).all(), "labels are never averaged"
    found = attributes(tmp_path / "a.zarr", version)
    (pyramid,) = (found if version == "0.4" else found["ome"])["multiscales"]
    scale, shift = pyramid["datasets"][2]["coordinateTransformations"]
    assert scale["scale"] == [1.0, 1.0, 1.0]
    assert shift["translation"] == [0.0, 0.375, 0.375], "the middle of a block, in micrometres"


def test_images_are_averaged_and_carry_labels(tmp_path):
    values = numbers((2, 8, 300, 30), high=4096, dtype="uint16")
    image = create_image(
        tmp_path / "a.zarr", values.shape[1:], spacing=(2, 1, 1), channels=("nuclei", "membrane")
    )
    for region in regions(image):
        image.write(region, values[region])
    image.finish()
    coarse = zarr.open_group(tmp_path / "a.zarr", mode="r")["1"]
    assert coarse[1, 3, 5, 7] == np.rint(values[1, 3, 10:12, 14:16].mean())

    ids = numbers(values.shape[1:], high=9, dtype="uint32")
    options = {"spacing": (2, 1, 1), "name": "cells"}
    store = written(tmp_path / "a.zarr", ids, **options)
    assert store.path == tmp_path / "a.zarr/labels/cells"
    assert (open_labels(tmp_path / "a.zarr").read(window(ids.shape)) == ids).all()
    with pytest.raises(ValueError, match="do not fit the image"):
        create_labels(tmp_path / "a.zarr", (9, 300, 30), spacing=1, name="other")
    with pytest.raises(ValueError, match=r"ask for version='0\.5'"):
        create_labels(tmp_path / "a.zarr", (8, 300, 30), spacing=1, name="other", version="0.4")
    written(tmp_path / "a.zarr", ids, **{**options, "name": "more"})
    with pytest.raises(ImageReadError, match=r"holds 2 label images.*labels/cells.*labels/more"):
        open_labels(tmp_path / "a.zarr")


def test_means_keep_the_type_and_cover_the_edges():
    values = np.array([[1, 2, 9], [3, 5, 9]], np.uint8)
    assert reduced(values, (2, 2), "mean").tolist() == [[3, 9]]
    assert reduced(values.astype(np.float32), (2, 2), "mean").tolist() == [[2.75, 9]]
    assert reduced(values, (2, 2), "nearest").tolist() == [[1, 9]]
    assert strides_for((64, 256, 256), (1, 1, 1)) == ()
    assert strides_for((64, 257, 512), (2, 1, 1)) == ((1, 2, 2),)
    assert strides_for((64, 2000, 90), None) == ((2, 2, 2),) * 3


def test_a_stop_while_levels_are_made_leaves_it_unfinished(tmp_path, monkeypatch):
    values = numbers((600, 90), high=9)
    store = create_labels(tmp_path / "a.zarr", values.shape, spacing=1, dtype="uint64", chunk=128)
    for region in regions(store):
        store.write(region, values[region])

    def stopped(self, level):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(LabelStore, "_make", stopped)
        store.finish()
    with pytest.raises(ImageReadError, match="never finished"):
        open_labels(tmp_path / "a.zarr")
    LabelStore(tmp_path / "a.zarr").finish()
    assert (open_labels(tmp_path / "a.zarr").read(window(values.shape)) == values).all()
