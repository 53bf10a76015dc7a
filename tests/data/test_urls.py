"""URLs of zarr wherever a path may stand: in manifests, in tables, as what is predicted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from microtome.data.crops import RandomCrop
from microtome.data.image_dataset import ImageDataset
from microtome.data.manifest import located, parse_manifest, write_manifest
from microtome.data.records import Reading
from microtome.data.sampling import Draw
from microtome.data.stores.places import absolute, from_root, place_of
from microtome.data.volume_dataset import VolumeDataset
from microtome.inference.inputs import find_inputs
from microtome.structures import Classes

IMAGE, LABELS = "memory://lab/embryo.zarr", "memory://lab/embryo_labels.zarr"
CLASSES = Classes(("background", "cell"), (False, True))


@pytest.fixture(scope="module")
def volume():
    """Cells of 8-bit voxels, each half as bright as its number says."""
    ids = np.kron(np.arange(1, 9).reshape(2, 2, 2), np.ones((4, 6, 6))).astype(np.uint8)
    for url, values in ((IMAGE, ids * 30), (LABELS, ids)):
        array = zarr.create_array(
            url, shape=ids.shape, chunks=(4, 4, 4), dtype="uint8", overwrite=True
        )
        array[:] = values
    return ids


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/a/b.zarr",
        "https://host:8080/b.zarr",
        "zip://a.zarr::s3://bucket/b.zip",
        "memory://b.h5:/raw",
    ],
)
def test_a_url_survives_being_a_path(url):
    assert place_of(Path(url)) == absolute(Path(url)) == url
    assert place_of(from_root(Path("/data"), url)) == url


@pytest.mark.parametrize("path", ["/a/b.zarr", "a/b", "C:/data/x.tif", "/a/b.h5:/raw", "../c"])
def test_other_paths_stay_as_they_are(path):
    assert place_of(Path(path)) == path
    assert from_root(Path("/r"), "a/b") == Path("/r/a/b")


def test_a_manifest_of_urls(volume, tmp_path):
    entry = {"image_path": IMAGE, "labels_path": LABELS, "value": 1}
    description = {"class_names": ["background", "cell"], "channels": "grey"}
    description["data"] = {"train": [entry]}
    assert located(description, tmp_path)["data"]["train"] == [entry]
    write_manifest(parse_manifest(description, tmp_path), tmp_path / "data.json")
    assert json.loads((tmp_path / "data.json").read_text())["data"]["train"] == [entry]
    classes, splits, reading = parse_manifest(description, tmp_path)
    data = ImageDataset(splits["train"], classes, reading, [RandomCrop((3, 5, 5))])
    sample = data[Draw(0, 2)]
    at = tuple(
        slice(int(o), int(o) + s) for o, s in zip(sample.placement.offset, (3, 5, 5), strict=True)
    )
    np.testing.assert_allclose(sample.image[0], volume[at] * 30 / 255, atol=1e-6)
    assert sample.truth.instances.masks.ids.tolist() == np.unique(volume[at]).tolist()
    assert sample.meta == {"name": "embryo", "path": str(Path(IMAGE))}


def test_a_table_of_urls(volume):
    row = {"img_id": 1, "img_path": IMAGE, "label_path": LABELS, "t0": 0, "t1": 1}
    for axis, size in zip("zyx", volume.shape, strict=True):
        row |= {axis: size, f"{axis}0": 0, f"{axis}1": size}
    data = VolumeDataset([row], CLASSES, Reading("grey"), Path("/somewhere"))
    assert len(data[0].truth.instances) == 8


def test_a_url_is_predicted(volume):
    inputs = find_inputs(IMAGE, CLASSES, Reading("grey"))
    assert inputs.names == ("embryo",)
    assert inputs.images.source(0).info.shape == volume.shape
