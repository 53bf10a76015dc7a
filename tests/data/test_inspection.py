"""The inspection that tells all problems of a data set at once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from written_pairs import HALF, THREE, TWO, pair, picture

from microtome.data.datasets import SampleDataset
from microtome.data.image_dataset import ImageDataset
from microtome.data.inspection import inspect
from microtome.data.manifest import parse_manifest
from microtome.data.records import Reading, Record
from microtome.structures import Classes, DataSample, Segmentation


def report(classes=TWO, reading=None, **splits):
    return inspect({k: ImageDataset(v, classes, reading) for k, v in splits.items()}, classes)


def test_a_sound_data_set_and_its_facts(tmp_path):
    dark, light = (np.full((20, 30), v, np.uint8) for v in (51, 153))
    ignoring = HALF.copy()
    ignoring[0] = 255
    found = report(
        train=[pair(tmp_path, "a", image=dark), pair(tmp_path, "b", ignoring, light)],
        val=[pair(tmp_path, "c", image=light + 1)],
    )
    assert found.problems == () and found.warnings == ()
    train = found.splits["train"]
    assert train.pixels == (300 + 285, 300 + 285, 30) and train.occurs == (2, 2, 1)
    assert train.among == (1170, 1170, 570), "judged pixels of the images that show the class"
    assert train.smallest == train.largest == (20, 30) and train.spacings == (None,)
    assert found.mean == pytest.approx((0.4,) * 3, abs=1e-6), "of the training images alone"
    assert found.std == pytest.approx((0.2,) * 3, abs=1e-6)
    assert found.facts()["images"] == {"train": 2, "val": 1}
    assert found.as_dict()["splits"]["val"]["pixels"] == (300, 300, 0)
    for expected in ("20 x 30", "cell", "48.75% (2)", "no problems", "0.400 ± 0.200"):
        assert expected in found.text()


def test_all_problems_are_told_at_once(tmp_path):
    good = pair(tmp_path, "good", group="p1")
    broken = tmp_path / "broken.png"
    broken.write_bytes(good.image.read_bytes()[:40])
    found = report(
        train=[
            good,
            Record(tmp_path / "absent.png", good.mask),
            Record(broken, tmp_path / "absent_m.png"),
            pair(tmp_path, "values", HALF * 9),
            Record(pair(tmp_path, "small", HALF[:5]).image, good.mask),
            Record(good.image),
        ],
        val=[pair(tmp_path, "other", group="p1"), good],
    )
    told = "\n".join(found.problems)
    for expected in (
        "train: " + str(tmp_path / "absent.png") + ": no such file",
        "broken.png: is not a PNG, JPEG, BMP or TIFF image, or damaged",
        "absent_m.png: no such file",
        "values_m.png: holds values that are neither classes (0 to 1) nor ignore_index 255: 9",
        "good_m.png: is 20 x 30 pixels, but its image 5 x 30",
        "train: 1 without mask or labels: good",
        "group p1 is in train and val",
        f"image {good.image} is in train and val",
    ):
        assert expected in told
    assert len(found.problems) == 8 and len(found.warnings) == 1, "of images without a group"
    assert found.text().count("\n  - ") == 9


def test_a_text_of_hundreds_of_problems_is_cut_but_the_report_is_not(tmp_path):
    absent = [Record(tmp_path / f"{i}.png", tmp_path / "m.png") for i in range(40)]
    found = report(train=absent)
    assert len(found.problems) == 80 and "80 problems" in found.text()
    assert "... and 30 more" in found.text() and found.mean == ()


@pytest.mark.parametrize("classes", [TWO, Classes(("a", "b"), ignore_index=254)])
def test_masks_of_0_and_255_get_the_line_to_add(tmp_path, classes):
    records = [pair(tmp_path, n, m) for n, m in (("a", HALF * 255), ("b", HALF * 0))]
    found = report(classes, train=records)
    assert '"mask_values": {"0": 0, "255": 1}' in found.problems[0]
    assert "mask_values: {0: 0, 255: 1}" in found.text()
    mapped = report(classes, Reading(mask_values={0: 0, 255: 1}), train=records)
    assert mapped.problems == () and mapped.splits["train"].pixels == (900, 300, 0)
    some = report(TWO, train=[*records, pair(tmp_path, "c")])
    assert some.problems == (), "elsewhere there is foreground, so 255 may mean ignored"


def test_unlike_images(tmp_path):
    flat = pair(tmp_path, "a", spacing=0.5)
    deep = Record(
        picture(tmp_path / "v.tif", np.zeros((3, 20, 30), np.uint16)),
        picture(tmp_path / "v_m.tif", np.stack([HALF] * 3)),
    )
    colour = pair(tmp_path, "c", image=np.zeros((20, 30), np.uint8), spacing=0.5)
    Image.new("RGB", (30, 20)).save(colour.image)
    found = report(TWO, Reading("as_is"), train=[flat, deep, colour])
    told = "\n".join(found.problems)
    assert "spacing is known for 2 of 3 images, not for v" in told
    assert "channel counts differ: 2 images with 1, 1 images with 3" in told
    assert "numbers of spatial axes differ: 2 with 2, 1 with 3" in told
    assert "2 of uint8, 1 of uint16" in found.warnings[0] and len(found.problems) == 3


def test_classes_that_never_occur_and_objects(tmp_path):
    ids = np.zeros((20, 30), np.uint8)
    ids[:5], ids[10:] = 1, 200
    image = picture(tmp_path / "a.png", HALF)
    record = Record(image, labels=picture(tmp_path / "l.png", ids), value=2)
    found = report(THREE, train=[record])
    assert found.warnings == ("train: never occurs, so it cannot be learnt: cell",)
    assert found.splits["train"].objects == (2,) and "2 to 2" in found.text()
    assert found.splits["train"].pixels == (150, 0, 450, 0)


class Generated(SampleDataset):
    """Not made of files."""

    classes = TWO

    def __init__(self, *class_maps):
        super().__init__()
        self.class_maps = class_maps

    def __len__(self):
        return len(self.class_maps)

    def load(self, item):
        class_map = torch.from_numpy(self.class_maps[item].astype(np.int64))
        return DataSample(
            torch.zeros(1, *class_map.shape), Segmentation(class_map), meta={"name": f"g{item}"}
        )


def test_data_sets_without_files_are_inspected_too():
    found = inspect({"train": Generated(HALF, HALF * 3)}, TWO)
    assert found.splits["train"].images == 2 and len(found.problems) == 1
    assert "g1: holds values" in found.problems[0] and found.mean == ()


def test_fingerprint_progress_and_workers(tmp_path):
    records = [pair(tmp_path, n) for n in "abcdef"]
    calls = []
    data = {"train": ImageDataset(records[:4], TWO), "val": ImageDataset(records[4:], TWO)}
    first = inspect(data, TWO, progress=lambda *c: calls.append(c), workers=3)
    assert calls == [(i, 6) for i in range(1, 7)]
    assert inspect(data, TWO, workers=1) == first
    data = {"train": ImageDataset(records[:5], TWO), "val": ImageDataset(records[5:], TWO)}
    assert inspect(data, TWO).fingerprint != first.fingerprint


def test_a_split_without_a_judged_pixel_is_a_problem(tmp_path):
    nothing = pair(tmp_path, "b", np.full((20, 30), 255, np.uint8))
    found = report(train=[pair(tmp_path, "a")], val=[nothing])
    assert any(p.startswith("val: every pixel is ignored") for p in found.problems)


def test_of_many_classes_those_that_occur_are_told(tmp_path):
    many = Classes(tuple(f"class {i}" for i in range(40)))
    text = report(many, train=[pair(tmp_path, "a")]).text()
    assert "class 1 " in text and "class 31 " not in text and "and 30 more classes" in text


def real(name):
    root = Path(os.environ.get("MICROTOME_TEST_DATA", "")) / name
    if "MICROTOME_TEST_DATA" not in os.environ or not root.is_dir():
        pytest.skip(f"MICROTOME_TEST_DATA names no folder with {name}")
    return root


BOTH = {"images": "images", "labels": "labels"}
GRADES = {"csv": "grade.csv", "key": "name", "column": "grade"}
REAL = {
    "derm_isic2018_512": {
        "mask_values": {"0": 0, "255": 1},
        "folders": {"images": "images", "masks": "masks", "mask_suffix": "_segmentation"},
        "split": {"val": {"last": 60}},
    },
    "he_glas": {
        "num_classes": 3,
        "spacing_um": 0.62,
        "class_table": GRADES | {"values": {"benign": 1, "malignant": 2}},
        "folders": BOTH | {"group_table": GRADES | {"column": "patient_id"}},
        "split": {"val": {"groups": [1, 3, 9]}},
    },
    "he_monuseg": {"spacing_um": 0.25, "folders": BOTH, "split": {"val": {"fraction": 0.3}}},
    "fluo_dsb2018": {"folders": BOTH, "split": {"val": {"fraction": 0.3}}},
    "vol_bbbc050_mouse_embryo": {
        "channels": "as_is",
        "spacing_um": [1.75, 0.8, 0.8],
        "folders": BOTH | {"group_pattern": "Emb.."},
        "split": {"val": {"groups": ["Emb05"]}},
    },
}


@pytest.mark.parametrize("name", REAL)
def test_real_images_have_no_problems(name):
    found = parse_manifest({"num_classes": 2} | REAL[name], real(name))
    data = {s: ImageDataset(r, found.classes, found.reading) for s, r in found.splits.items() if r}
    result = inspect(data, found.classes)
    assert result.problems == (), result.text()
    assert all(sum(split.pixels[1:-1]) > 0 for split in result.splits.values())
    sample = data["val"][0]
    assert sample.truth.classes.shape == sample.shape and sample.image.min() >= 0
