"""Objects in every form that files say them, from the manifest to the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from written_objects import dataset, dense, saved, truths

from microtome.data.datamodule import ManifestData
from microtome.data.inspection import inspect
from microtome.data.manifest import parse_manifest, read_manifest, write_manifest
from microtome.data.objects.parts import layered, painted, part_of
from microtome.data.proposals import fitting_tile
from microtome.data.records import ManifestError
from microtome.data.stores import ImageReadError
from microtome.heads.mask_targets import MaskTargets
from real_layouts import discs, write_coco, write_mask_folders, write_qupath

HUGE = (70_000, 2**24 + 1, 2**24 + 3, 2**31 - 5)  # 16 bits hold none, float32 only the first


@pytest.mark.parametrize("template", ["../masks", "../../{name}/masks"])
def test_a_mask_file_for_each_object(tmp_path, template):
    root = write_mask_folders(tmp_path, count=3)
    folders = {"images": str(root), "object_masks": template}
    found = truths({"num_classes": 2, "folders": folders}, tmp_path)
    assert list(found) == ["id0", "id1", "id2"]
    for seed, truth in enumerate(found.values()):
        masks = discs(seed)[1]
        np.testing.assert_array_equal(dense(truth), masks)
        assert truth.instances.masks.ids.tolist() == [1, 2, 3, 4]
        np.testing.assert_array_equal(truth.classes, np.any(masks, 0))


def test_a_smaller_object_lies_on_top():
    large, small = np.ones((4, 6), bool), np.zeros((4, 6), bool)
    small[1:3, 1:3] = True
    layers = layered([part_of(5, small), part_of(9, large)], (4, 6))
    assert layers.maps.shape == (2, 4, 6) and layers.ids.tolist() == [5, 9]
    np.testing.assert_array_equal(painted(layers, np.array([2, 1])), 1 + small)


def test_binary_masks_become_components(tmp_path):
    mask = np.zeros((9, 12), np.uint8)
    mask[0:2, 0:2] = mask[2:4, 2:4] = 255  # touch at a corner: one object
    mask[6:8, 6:9] = 255
    saved(tmp_path / "i" / "a.png", mask)
    saved(tmp_path / "m" / "a.png", mask)
    folders = {"images": "i", "labels": "m"}
    description = {"num_classes": 2, "labels_encoding": "components", "folders": folders}
    (truth,) = truths(description, tmp_path).values()
    assert truth.instances.masks.areas().tolist() == [8, 6]
    np.testing.assert_array_equal(truth.classes, mask > 0)
    both = description | {
        "mask_values": {"0": 0, "255": 1},
        "folders": folders | {"masks": "m"},
    }
    (truth,) = truths(both, tmp_path).values()
    assert truth.instances.labels.tolist() == [1, 1], "classes of the mask, objects of its regions"


@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.float64])
def test_a_table_says_the_class_of_each_object_whatever_its_number(tmp_path, dtype):
    ids = np.zeros((8, 12), dtype)
    for column, number in enumerate(HUGE):
        ids[2:5, 3 * column : 3 * column + 2] = number
    saved(tmp_path / "i" / "a.png", np.zeros((8, 12), np.uint8))
    saved(tmp_path / "l" / "a.tif", ids)
    words = ["lymphocyte", "?", "debris", "tumour"]
    rows = [f"a.png;{number};{word}" for number, word in zip(HUGE, words, strict=True)]
    (tmp_path / "cells.csv").write_text("file;cell;kind\n" + "\n".join(rows) + "\n")
    table = {"csv": "cells.csv", "key": "file", "id": "cell", "column": "kind"}
    description = {
        "class_names": ["rest", "tumour", "lymphocyte"],
        "class_table": table,
        "object_classes": {"?": 255, "debris": 0},
        "folders": {"images": "i", "labels": "l"},
    }
    (truth,) = truths(description, tmp_path).values()
    assert truth.instances.labels.tolist() == [2, 1]
    assert truth.instances.masks.ids.tolist() == [HUGE[0], HUGE[3]]
    assert truth.classes[3].tolist() == [2, 2, 0, 255, 255, 0, 0, 0, 0, 1, 1, 0]
    (tmp_path / "cells.csv").write_text("file;cell;kind\n" + rows[0] + "\n")
    with pytest.raises(ImageReadError, match=f"cells.csv: says nothing of the objects {HUGE[1]}"):
        truths(description, tmp_path)


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────


def test_words_that_are_no_class_name_the_way_out(tmp_path):
    write_qupath(tmp_path, count=1)
    folders = {"images": "images", "labels": "annotations"}
    description = {"class_names": ["rest", "Tumour"], "folders": folders}
    with pytest.raises(ImageReadError) as caught:
        truths(description, tmp_path)
    told = str(caught.value)
    assert "slide0.geojson: class 'Tumor' is not known; did you mean 'Tumour'?" in told
    assert '"object_classes": {"Tumor": 1}' in told
    found = parse_manifest(description | {"object_classes": {"*": 0, "Tumor": 1}}, tmp_path)
    assert inspect({"test": dataset(found)}, found.classes).problems == ()


def test_other_mistakes_are_told(tmp_path):
    root = write_mask_folders(tmp_path, count=1)
    (mask, *_) = sorted((root / "id0" / "masks").iterdir())
    saved(mask, np.arange(48 * 64, dtype=np.uint16).reshape(48, 64))
    folders = {"images": str(root), "object_masks": "../masks"}
    with pytest.raises(ImageReadError, match="expected the mask of one object"):
        truths({"num_classes": 2, "folders": folders}, tmp_path)
    with pytest.raises(ManifestError, match="labels and object_masks: give one"):
        parse_manifest({"num_classes": 2, "folders": folders | {"labels": "x"}}, tmp_path)
    wrong = {"num_classes": 2, "labels_encoding": "rle", "object_classes": {"a": 7}, "data": {}}
    with pytest.raises(ManifestError) as caught:
        parse_manifest(wrong, tmp_path)
    assert "labels_encoding: expected index, components, got 'rle'" in str(caught.value)
    assert "object_classes: 7 is neither a class" in str(caught.value)
    write_coco(tmp_path / "c", count=1)
    named = {"class_names": ["nucleus", "mitosis"]}
    folders = {"images": "c/images", "annotations": "c/instances.json"}
    with pytest.raises(ManifestError, match="put 'background' before it"):
        parse_manifest(named | {"folders": folders}, tmp_path)


# ── what a run keeps, and what reaches the losses ────────────────────────────────────────────────


LAYOUTS = {
    "masks": (write_mask_folders, {"images": "stage1_train", "object_masks": "../masks"}, {}),
    "coco": (write_coco, {"images": "images", "annotations": "instances.json"}, {}),
    "qupath": (
        write_qupath,
        {"images": "images", "labels": "annotations"},
        {"class_names": ["rest", "Tumor", "Stroma"]},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_manifest_that_a_run_writes_says_the_same(tmp_path, name):
    write, folders, more = LAYOUTS[name]
    write(tmp_path, count=5)
    described = {"num_classes": 2} if name == "masks" else more
    described |= {"folders": folders, "split": {"val": {"fold": [0, 5]}, "test": {"last": 1}}}
    found = parse_manifest(described, tmp_path)
    (tmp_path / "runs").mkdir()
    write_manifest(found, tmp_path / "runs" / "data.json")
    again = read_manifest(tmp_path / "runs" / "data.json")
    assert again.classes == found.classes and again.reading == found.reading
    for split, rows in found.splits.items():
        assert len(rows) == {"train": 3, "val": 1, "test": 1}[split]
        one, other = dataset(found, split)[0], dataset(again, split)[0]
        assert torch.equal(one.truth.instances.masks.maps, other.truth.instances.masks.maps)
        assert torch.equal(one.truth.classes, other.truth.classes)


@pytest.mark.parametrize("workers", [0, 2])
def test_numbers_survive_from_file_to_crop_to_batch_to_targets(tmp_path, workers):
    rng = np.random.default_rng(0)
    for index in range(3):
        ids = np.zeros((40, 50), np.uint32)
        for number in HUGE:
            y, x = rng.integers(0, (34, 44))
            ids[y : y + 6, x : x + 6] = number
        saved(tmp_path / "i" / f"{index}.png", rng.integers(0, 255, (40, 50), dtype=np.uint8))
        saved(tmp_path / "l" / f"{index}.tif", ids)
    manifest = {
        "num_classes": 2,
        "folders": {"images": str(tmp_path / "i"), "labels": str(tmp_path / "l")},
        "split": {"val": {"last": 1}},
    }
    data = ManifestData(manifest, crop=24, crops_per_image=4, batch_size=1, workers=workers)
    numbers = set()
    for batch in data.train_dataloader():
        (sample,) = batch
        truth = sample.truth.pad((32, 32), 255)
        target = MaskTargets.of(truth, "instance", data.classes)
        file = tifffile.imread(tmp_path / "l" / f"{sample.meta['name']}.tif")
        at = tuple(slice(int(o), int(o) + 24) for o in sample.placement.offset)
        ids = sample.truth.instances.masks.id_maps()[0].numpy()
        np.testing.assert_array_equal(ids, file[at])
        assert len(target.ids) == len(np.unique(file[at])) - 1
        assert not target.valid_mask[24:].any() and target.labels.tolist() == [1] * len(target.ids)
        numbers |= set(np.unique(ids).tolist())
    assert numbers == {0, *HUGE}


def test_a_report_of_objects_tells_sizes_crowds_and_proposals(tmp_path):
    write_coco(tmp_path, count=4)
    description = {
        "spacing_um": 0.5,
        "folders": {"images": "images", "annotations": "instances.json"},
    }
    found = parse_manifest(description, tmp_path)
    report = inspect({"train": dataset(found)}, found.classes, crop=20)
    summary = report.splits["train"].summary
    assert summary.by_class == (0, 8, 4) and report.splits["train"].objects == (3,) * 4
    areas = [m.sum() for seed in range(4) for m in discs(seed)[1][:3]]
    middle = float(np.median(2 * np.sqrt(np.array(areas) / np.pi)))
    assert summary.diameters[1] == pytest.approx(middle)
    assert summary.diameters_um[1] == pytest.approx(middle / 2)
    assert summary.tiles[128] == 3 and 0 < summary.empty_crops < 1
    text = report.text()
    for expected in ("mitosis", "diameter, µm", "most in a tile of 128", "`tile: ", "`overlap: "):
        assert expected in text
    assert json.loads(json.dumps(report.as_dict()))["splits"]["train"]["crowd"] == 3
    assert report.problems == ()


def test_objects_without_a_pixel_are_told(tmp_path):
    write_coco(tmp_path, count=1)
    file = tmp_path / "instances.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = [[0.6, 0, 0.9, 0, 0.9, 40, 0.6, 40]]
    file.write_text(json.dumps(content))
    found = parse_manifest(
        {"folders": {"images": "images", "annotations": "instances.json"}}, tmp_path
    )
    report = inspect({"train": dataset(found)}, found.classes)
    assert report.warnings[0].startswith("train: 1 objects have no pixel")
    assert report.splits["train"].objects == (2,)


def test_copies_and_missing_groups_are_told(tmp_path):
    rng = np.random.default_rng(1)
    for name in "abc":
        saved(tmp_path / f"{name}.png", rng.integers(0, 2, (9, 9), dtype=np.uint8))
    Path(tmp_path / "d.png").write_bytes((tmp_path / "a.png").read_bytes())
    entries = [
        {"image_path": f"{n}.png", "mask_path": f"{n}.png", "group": g}
        for n, g in zip("abcd", ("p1", "p1", None, None), strict=True)
    ]
    data = {"train": entries[:2], "val": entries[2:]}
    found = parse_manifest({"num_classes": 2, "data": data}, tmp_path)
    report = inspect({s: dataset(found, s) for s in ("train", "val")}, found.classes)
    assert len(report.problems) == 1 and "d.png of val is a copy of" in report.problems[0]
    assert report.warnings == (
        "2 of 4 images have no group, as c: whether they share a patient or slide with images of "
        "another split cannot be checked",
    )


@pytest.mark.parametrize(
    "largest, image, tile",
    [
        ((58, 61), (1000, 1200), ((256, 256), 0.25, True)),
        ((5, 7), (1000, 1000), ((128, 128), 0.125, True)),
        ((76, 86), (1000, 1000), ((384, 384), 0.25, True)),
        ((700, 700), (4000, 4000), ((1024, 1024), 0.5, False)),
        ((300, 300), (256, 256), ((256, 256), 0.125, True)),  # the image is one tile
        ((9, 40, 40), (16, 512, 512), ((16, 192, 192), 0.25, True)),
    ],
)
def test_a_tile_is_proposed_that_holds_the_largest_object(largest, image, tile):
    assert fitting_tile(largest, image) == tile


def test_labels_may_be_a_store_and_a_folder_of_other_files_is_no_folder_of_masks(tmp_path):
    import zarr

    ids = np.zeros((6, 8), np.uint64)
    ids[1:3, 2:5] = HUGE[2]
    saved(tmp_path / "a.png", np.zeros((6, 8), np.uint8))
    zarr.create_array(str(tmp_path / "l.zarr"), data=ids, chunks=(3, 4))
    (tmp_path / "masks").mkdir()
    entry = {"image_path": "a.png", "labels_path": "l.zarr"}
    (truth,) = truths({"num_classes": 2, "data": {"test": [entry]}}, tmp_path).values()
    np.testing.assert_array_equal(truth.instances.masks.id_maps()[0], ids.astype(np.int64))
    zarr.create_array(str(tmp_path / "m.zarr"), data=(ids > 0) * np.uint64(2**63))
    entry["labels_path"] = "m.zarr"
    with pytest.raises(ImageReadError, match=r"m\.zarr: holds the number .*; objects go up"):
        truths({"num_classes": 2, "data": {"test": [entry]}}, tmp_path)
    entry["labels_path"] = "masks"
    (truth,) = truths({"num_classes": 2, "data": {"test": [entry]}}, tmp_path).values()
    assert len(truth.instances) == 0 and not truth.classes.any(), "no mask, no object"
    (tmp_path / "masks" / "notes.txt").touch()
    with pytest.raises(ImageReadError, match="masks: holds no mask file"):
        truths({"num_classes": 2, "data": {"test": [entry]}}, tmp_path)
