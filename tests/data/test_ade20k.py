"""ADE20K in both of its layouts, as a folder and as the zip file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from microtome.data.ade20k import ADE20KDataModule, read_ade20k
from microtome.data.image_dataset import ImageDataset, ManifestDataset
from microtome.data.records import ManifestError
from microtome.data.stores import ImageReadError, read_labels
from real_layouts import write_ade20k, write_ade20k_full

SAMPLE = next(  # three published images, which lie beside some checkouts
    (s for p in Path(__file__).parents if (s := p / "shared/data/ade20k_sample3").exists()), None
)


@pytest.mark.parametrize("packed", [False, True])
def test_the_benchmark(tmp_path, packed):
    data = ADE20KDataModule(str(write_ade20k(tmp_path, packed=packed)), crop=16, workers=0)
    classes = data.classes
    assert classes.num_classes == 150
    assert classes.names[:3] == ("wall", "building", "sky") and classes.names[8] == "windowpane"
    assert classes.colours[:2] == ((120, 120, 120), (180, 120, 120)), "as everybody draws them"
    assert classes.colours[149] == (92, 0, 255)
    assert [len(data.splits[s]) for s in ("train", "val")] == [4, 2]
    sample = data.splits["val"].load(0)
    assert sample.meta["name"] == "ADE_val_00000001"
    mask = tmp_path / "ADEChallengeData2016/annotations/validation/ADE_val_00000001.png"
    raw = np.asarray(Image.open(mask)).astype(int)
    assert (sample.truth.classes.numpy() == np.where(raw == 0, 255, raw - 1)).all()
    assert set(np.unique(raw)) == {0, 1, 2, 3, 150}
    report = data.inspect()
    assert not report.problems
    assert "never occurs" in report.warnings[0]
    batch = next(iter(data.train_dataloader()))
    assert batch[0].image.shape == (3, 16, 16)


def test_folder_and_zip_are_the_same_data_and_the_release_is_found_inside(tmp_path):
    archive, root = write_ade20k(tmp_path, packed=True), tmp_path / "ADEChallengeData2016"
    reports = [ADE20KDataModule(str(p)).inspect() for p in (archive, root, tmp_path)]
    assert len({report.fingerprint for report in reports}) == 1


def test_what_was_used_can_be_written_and_read_again(tmp_path):
    data = ADE20KDataModule(str(write_ade20k(tmp_path, packed=True)))
    data.write(tmp_path / "run")
    again = ManifestDataset(str(tmp_path / "run" / "data.json"), "val")
    assert again.classes == data.classes
    expected = data.splits["val"].load(1)
    assert torch.equal(again.load(1).truth.classes, expected.truth.classes)
    assert torch.equal(again.load(1).image, expected.image)


def test_the_path_is_kept_absolute(tmp_path, monkeypatch):
    write_ade20k(tmp_path)
    monkeypatch.chdir(tmp_path)
    options = {"root": "ADEChallengeData2016", "crop": 8}
    found = ADE20KDataModule(**options).located(options)
    assert found == {"root": str(tmp_path / "ADEChallengeData2016"), "crop": 8}


def test_what_is_wrong_is_told(tmp_path):
    with pytest.raises(ManifestError, match="no such file or folder"):
        read_ade20k(tmp_path / "nowhere")
    with pytest.raises(ManifestError, match=r"expected objectInfo150.txt .* or images/ADE"):
        read_ade20k(tmp_path)
    root = write_ade20k(tmp_path)
    (root / "annotations" / "validation" / "ADE_val_00000002.png").unlink()
    (root / "images" / "training" / "ADE_train_00000003.jpg").unlink()
    with pytest.raises(ManifestError) as error:
        read_ade20k(root)
    assert "image without mask" in str(error.value) and "mask without image" in str(error.value)
    (root / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n3\tsky\n")
    with pytest.raises(ManifestError, match="counting from 1"):
        read_ade20k(root)
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(ManifestError, match="no zip file, or damaged"):
        read_ade20k(tmp_path / "broken.zip")


def test_the_full_release(tmp_path):
    write_ade20k_full(tmp_path)
    classes, splits, reading = read_ade20k(tmp_path)
    assert classes.names == ("building", "car, auto", "sky", "car, railcar")
    assert reading.mask_values == {0: 255, 312: 0, 401: 1, 2420: 2, 3050: 3}
    assert [len(splits[s]) for s in ("train", "val", "test")] == [2, 2, 0]
    data = ADE20KDataModule(str(tmp_path), crop=16, workers=0)
    assert not data.inspect().problems
    row = data.splits["train"].load(0).truth.classes[0]
    assert row.unique_consecutive().tolist() == [255, 0, 2, 1, 3]
    data.write(tmp_path / "run")
    again = ManifestDataset(str(tmp_path / "run" / "data.json"), "train")
    assert torch.equal(again.load(0).truth.classes[0], row)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        '{"annotation": {}}',
        '{"annotation": {"object": [{"name_ndx": 1}]}}',
        '{"annotation": {"object": [{"name_ndx": 9999, "name": "a", "parts": {"part_level": 0}}]}}',
        '{"annotation": {"object": [{"name_ndx": [1], "name": "a", "parts": {"part_level": 0}}]}}',
        '{"annotation": {"object": [{"name_ndx": 1, "name": 2, "parts": {"part_level": 0}}]}}',
    ],
)
def test_descriptions_that_are_not_as_published_are_refused_by_name(tmp_path, text):
    root = write_ade20k_full(tmp_path)
    next(root.rglob("ADE_train_00000001.json")).write_text(text)
    with pytest.raises(ManifestError, match=r"ADE_train_00000001\.json"):
        read_ade20k(root)


def test_more_classes_than_a_byte_holds(tmp_path):
    root = write_ade20k_full(tmp_path)
    file = next(root.rglob("ADE_val_00000001.json"))
    described = json.loads(file.read_text())
    extra = [
        {"name_ndx": i, "name": f"t{i}", "parts": {"part_level": 0}} for i in range(4000, 4300)
    ]
    described["annotation"]["object"] += extra
    file.write_text(json.dumps(described))
    classes, _, reading = read_ade20k(root)
    assert classes.num_classes == 304 and classes.ignore_index == reading.mask_values[0] == 65_535


def test_red_and_green_are_read_only_from_colours(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ImageReadError, match="expected 8-bit red, green and blue, got uint8 grey"):
        read_labels(tmp_path / "a.png", "ade20k")


@pytest.mark.skipif(SAMPLE is None, reason="the published sample is not here")
def test_the_published_sample():
    classes, splits, reading = read_ade20k(SAMPLE)
    data = ImageDataset(splits["train"], classes, reading)
    assert len(data) == 3 and classes.num_classes == 24
    seen = {classes.names[k] for k in data.load(0).truth.classes.unique().tolist() if k != 255}
    assert {"building", "car", "sky", "road", "traffic light"} <= seen
