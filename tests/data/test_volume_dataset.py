"""Volumes of a database as samples: regions read from the stores, objects with their ids."""

from __future__ import annotations

import pickle
from itertools import chain

import numpy as np
import pytest
import tifffile
import torch
from skimage.measure import regionprops

from microtome.data.aiming import Aim
from microtome.data.crops import RandomCrop
from microtome.data.databases import DataSchema, LabelSchema, SQLDatabase
from microtome.data.databases.ingesting import ingest
from microtome.data.databases.joining import whole_volumes
from microtome.data.folders import Folders
from microtome.data.sampling import Draw, DrawSampler, ResumableLoader
from microtome.data.stores import ImageReadError
from microtome.data.volume_dataset import VolumeDataset
from microtome.structures import Classes
from real_layouts import write_embryos

SHAPE = (9, 24, 28)
NAMES = r"(?P<specimen>Emb\d+)_t(?P<minute>\d+)"
CLASSES = Classes(("background", "nucleus"), (False, True))
CROPS = [
    RandomCrop((4, 30, 8)),
    RandomCrop((4, 30, 8), (0.5, 2.0)),
    RandomCrop((4, 20, 8), (0.5, 2.0), Aim(objects=0.5, classes=0.3, least_visible=0.3)),
]


@pytest.fixture(scope="module")
def embryos(tmp_path_factory):
    """The folder of TIFFs and the database of what `ingest` made of them."""
    folder = write_embryos(tmp_path_factory.mktemp("embryos"), SHAPE)
    records = Folders(folder / "images", labels=folder / "labels").records()
    return folder, ingest(records, folder / "out", names=NAMES, spacing=(1.75, 0.8, 0.8))


def volumes(embryos, tile=None, **options):
    database = SQLDatabase(str(embryos[1]))
    rows = database.initialise(
        DataSchema("images"), LabelSchema("labels"), tile=tile, select=["specimen", "minute"]
    )
    return VolumeDataset(rows, CLASSES, root=database.root, group="specimen", **options)


def test_a_whole_volume_is_what_the_files_hold(embryos):
    folder, data = embryos[0], volumes(embryos)
    sample, name = data.load(1), "Emb01_t351.tif"
    labels = tifffile.imread(folder / "labels" / name)
    image = tifffile.imread(folder / "images" / name).astype(float)
    assert [r.group for r in data.records] == ["Emb01", "Emb01", "Emb02", "Emb02", "Emb04", "Emb04"]
    assert (sample.shape, sample.spacing, sample.placement) == (SHAPE, (1.75, 0.8, 0.8), None)
    scaled = (image - image.min()) / (image.max() - image.min())
    np.testing.assert_allclose(sample.image[0], scaled, atol=1e-6)
    objects = sample.truth.instances
    assert objects.masks.ids.tolist() == np.unique(labels)[1:].tolist()
    assert objects.boxes.tensor.tolist() == [list(r.bbox) for r in regionprops(labels)]
    assert torch.equal(sample.truth.classes, torch.from_numpy(labels > 0).long())


def test_tiles_put_together_are_the_volume(embryos):
    data, whole = volumes(embryos, tile=(4, 16, 16)), volumes(embryos).load(0)
    tiles = [data[i] for i in range(len(data)) if data.record(i).name == "Emb01_t201"]
    assert len(tiles) == 3 * 2 * 2
    assert tiles[-1].shape == (1, 8, 12)  # ragged
    for tile in tiles:
        at = tuple(
            slice(int(o), int(o) + s)
            for o, s in zip(tile.placement.offset, tile.shape, strict=True)
        )
        assert torch.equal(tile.image, whole.image[(slice(None), *at)])
        cut = whole.truth.crop(at)
        assert torch.equal(tile.truth.classes, cut.classes)
        assert tile.truth.instances.masks.ids.tolist() == cut.instances.masks.ids.tolist()
        assert torch.equal(tile.truth.instances.boxes.tensor, cut.instances.boxes.tensor)
        assert tile.intensity == whole.intensity
    assert len({tile.meta["name"] for tile in tiles}) == 12


@pytest.mark.parametrize("crop", CROPS)
def test_a_crop_that_is_read_alone_is_that_of_the_whole(embryos, crop):
    lazy = volumes(embryos, transforms=[crop], seed=5)
    eager = volumes(embryos, transforms=[lambda *given: crop(*given)], seed=5)
    for item in range(12):
        a, b = lazy[Draw(3, item)], eager[Draw(3, item)]
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.truth.classes, b.truth.classes)
        assert a.truth.instances.masks.ids.tolist() == b.truth.instances.masks.ids.tolist()
        assert (a.placement, a.spacing) == (b.placement, b.spacing)


@pytest.mark.parametrize("aim", [None, Aim(objects=1.0)])
def test_a_crop_reads_nothing_but_its_window(embryos, monkeypatch, aim):
    """Of the image; a crop around an object looks for it in the labels of the whole volume."""
    data, asked = volumes(embryos, transforms=[RandomCrop((4, 8, 8), aim=aim)]), {}
    data[Draw(0, 0)]  # everything is open, and the source's intensities are measured
    opened = data.volume(0)
    (labels,) = opened.truths._maps.values()
    for name, part in (("image", opened.source), ("labels", labels)):
        read, regions = part.read, asked.setdefault(name, [])
        monkeypatch.setattr(part, "read", lambda r, read=read, to=regions: to.append(r) or read(r))
    data[Draw(0, 0)]
    sizes = {name: [[s.stop - s.start for s in r] for r in part] for name, part in asked.items()}
    assert sizes == {"image": [[4, 8, 8]], "labels": [[4, 8, 8] if aim is None else list(SHAPE)]}


@pytest.mark.parametrize("method", [None, "fork", "spawn"])
def test_loaders_of_every_kind_give_the_same(embryos, method):
    data = volumes(embryos, transforms=[RandomCrop((4, 8, 8))], seed=1)
    here = [data[Draw(2, item)].image for item in range(6)]  # files are open before the fork
    draws = DrawSampler(6, 1, shuffle=False)
    draws.set_epoch(2)
    options = {"num_workers": 1, "multiprocessing_context": method} if method else {}
    batches = list(ResumableLoader(data, draws, batch_size=2, **options))
    assert [len(batch) for batch in batches] == [2, 2, 2]
    assert all(torch.equal(s.image, here[i]) for i, s in enumerate(chain(*batches)))


def test_it_pickles_without_its_open_files(embryos):
    data = volumes(embryos)
    before = data.load(2)
    assert torch.equal(pickle.loads(pickle.dumps(data)).load(2).image, before.image)  # noqa: S301


def test_volumes_in_place_of_their_tiles(embryos):
    database = SQLDatabase(str(embryos[1]))
    asked = DataSchema("images"), LabelSchema("labels")
    tiles = database.initialise(*asked, tile=(4, 16, 16))
    assert whole_volumes(tiles) == database.initialise(*asked)


def test_a_table_that_is_wrong_about_a_file_is_told(embryos):
    rows = SQLDatabase(str(embryos[1])).initialise(DataSchema("images"))
    rows = whole_volumes([row | {"z": 10} for row in rows])
    data = VolumeDataset(rows, CLASSES, root=embryos[1].parent)
    with pytest.raises(ImageReadError, match=r"Emb01_t201.zarr: is 9 x 24 x 28, and 10 x 24 x 28"):
        data.load(0)


def test_time_points_of_one_file(tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (3, 5, 8, 8), np.uint8)
    tifffile.imwrite(tmp_path / "movie.tif", stack, imagej=True, metadata={"axes": "TZYX"})
    row = {"img_id": 1, "img_path": "movie.tif", "t": 3, "z": 5, "y": 8, "x": 8, "label_path": None}
    rows = [row | {"t0": t, "t1": t + 1} for t in range(3)]
    data = VolumeDataset(whole_volumes(rows), CLASSES, root=tmp_path)
    assert [data.load(i).meta["name"] for i in range(3)] == ["movie_t0", "movie_t1", "movie_t2"]
    for t in range(3):
        np.testing.assert_allclose(data.load(t).image[0], stack[t] / 255, atol=1e-6)
