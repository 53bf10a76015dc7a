"""Crops of files are read alone: the same samples as of whole images, from less of the files."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from microtome.data import opened as opening
from microtome.data.aiming import Aim
from microtome.data.crops import RandomCrop
from microtome.data.image_dataset import ImageDataset
from microtome.data.manifest import parse_manifest, write_manifest
from microtome.data.opened import KeptOpen
from microtome.data.records import Reading, Record
from microtome.data.sampling import Draw
from microtome.data.stores import create_image, create_labels
from microtome.geometry import window
from microtome.structures import Classes

CLASSES = Classes(("background", "cell", "debris"), (False, True, True))
SHAPE = (10, 30, 26)
AIMED = Aim(objects=0.5, classes=0.3, least_visible=0.3)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A volume as TIFF and zarr, its objects (ids beyond 2^24), classes, and a picture."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60_000, SHAPE, dtype=np.uint16)
    ids, classes = np.zeros(SHAPE, np.uint32), np.zeros(SHAPE, np.uint8)
    for number in range(8):
        z, y, x = (rng.integers(0, s - 3) for s in SHAPE)
        box = slice(z, z + 4), slice(y, y + 9), slice(x, x + 9)
        ids[box], classes[box] = 20_000_001 + number, 1 + number % 2
    classes[:, :4] = 255
    for name, values in (("image", image), ("ids", ids), ("classes", classes)):
        tifffile.imwrite(folder / f"{name}.tif", values)
        Image.fromarray((values[5] % 251).astype(np.uint8)).save(folder / f"{name}.png")
    options = {"spacing": (2, 1, 1), "chunk": 8}
    stored = create_image(folder / "image.zarr", SHAPE, dtype="uint16", **options)
    stored.write(window((1, *SHAPE)), image[None])
    labels = create_labels(folder / "ids.zarr", SHAPE, **options)
    labels.write(window(SHAPE), ids)
    stored.finish(), labels.finish()
    return folder


RECORDS = {
    "objects": lambda f: (Record(f / "image.tif", labels=f / "ids.tif", value=2), Reading("grey")),
    "in zarr": lambda f: (Record(f / "image.zarr", labels=f / "ids.zarr"), Reading("grey")),
    "classes": lambda f: (Record(f / "image.zarr", f / "classes.tif"), Reading("grey")),
    "objects of classes": lambda f: (
        Record(f / "image.zarr", f / "classes.tif", f / "ids.zarr"),
        Reading("grey"),
    ),
    "components": lambda f: (
        Record(f / "image.tif", labels=f / "ids.tif"),
        Reading("grey", labels_encoding="components"),
    ),
    "one class": lambda f: (Record(f / "image.tif", value=1), Reading("grey")),
    "nothing": lambda f: (Record(f / "image.tif"), Reading("grey")),
    "a picture": lambda f: (Record(f / "image.png", labels=f / "ids.png"), Reading("grey")),
}


@pytest.mark.parametrize("aim", [None, AIMED])
@pytest.mark.parametrize("kind", RECORDS)
def test_a_crop_that_is_read_alone_is_that_of_the_whole(files, kind, aim):
    record, reading = RECORDS[kind](files)
    crop = RandomCrop(7, (0.6, 1.5), aim)
    alone = ImageDataset([record], CLASSES, reading, [crop], seed=2)
    cut = ImageDataset([record], CLASSES, reading, [lambda *given: crop(*given)], seed=2)
    for item in range(4):
        a, b = alone[Draw(1, item)], cut[Draw(1, item)]
        assert torch.equal(a.image, b.image)
        assert (a.placement, a.spacing, a.meta, a.intensity) == (
            b.placement, b.spacing, b.meta, b.intensity,
        )  # fmt: skip
        assert (a.truth is None) == (b.truth is None) == (kind == "nothing")
        if a.truth is None:
            continue
        assert torch.equal(a.truth.classes, b.truth.classes)
        assert (a.truth.instances is None) == (kind in ("classes", "one class"))
        if a.truth.instances is not None:
            one, other = a.truth.instances, b.truth.instances
            assert one.masks.ids.tolist() == other.masks.ids.tolist()
            assert torch.equal(one.masks.maps, other.masks.maps)
            assert torch.equal(one.labels, other.labels)
            assert torch.equal(one.boxes.tensor, other.boxes.tensor)


def test_a_manifest_reads_the_window_of_a_crop_and_opens_its_files_once(files, monkeypatch):
    record, reading = RECORDS["in zarr"](files)
    data = ImageDataset([record], CLASSES, reading, [RandomCrop((4, 8, 8))])
    data[Draw(0, 0)]
    opened, asked = data.open(0), []
    monkeypatch.setattr(opening, "source_of", lambda *_: pytest.fail("opened again"))
    (labels,) = opened.truths._maps.values()
    for part in (opened.source, labels):
        read = part.read
        monkeypatch.setattr(part, "read", lambda r, read=read: asked.append(r) or read(r))
    for item in range(3):
        data[Draw(0, item)]
    assert [[s.stop - s.start for s in region] for region in asked] == [[4, 8, 8]] * 6


def test_files_stay_open_as_long_as_memory_allows(files, monkeypatch):
    made = []

    def make(number):
        made.append(number)
        name = "image.tif" if number < 3 else "image.zarr"  # decoded whole, and read by region
        return opening.Opened(Record(files / name), CLASSES, Reading("grey"), str(number))

    monkeypatch.setattr(opening, "BYTES", 2 * 2 * np.prod(SHAPE))  # two decoded volumes
    kept = KeptOpen(make)
    for number in (0, 1, 0, 2, 0, 1, 3, 4, 3):
        assert kept(number).name == str(number)
    assert made == [0, 1, 2, 1, 3, 4], "1 was used longest ago when 2 came"
    monkeypatch.setattr(opening, "FILES", 1)
    kept(3), kept(4), kept(3)
    assert made[6:] == [4, 3]
    again = pickle.loads(pickle.dumps(ImageDataset([Record(files / "image.zarr")], CLASSES)))  # noqa: S301
    assert again[0].shape == SHAPE


def test_a_written_manifest_is_read_by_region_too(files, tmp_path):
    entry = {"image_path": str(files / "image.zarr"), "labels_path": str(files / "ids.zarr")}
    description = {"num_classes": 3, "channels": "grey", "data": {"train": [entry]}}
    write_manifest(parse_manifest(description, tmp_path), tmp_path / "data.json")
    catalogue = parse_manifest(json.loads((tmp_path / "data.json").read_text()), tmp_path)
    data = ImageDataset(catalogue.splits["train"], catalogue.classes, catalogue.reading)
    data.transforms = (RandomCrop((4, 8, 8)),)
    sample = data[Draw(0, 1)]
    assert sample.shape == (4, 8, 8) and sample.placement.shape == SHAPE
