"""`microtome evaluate`: surfaces of class maps, and files of COCO's."""

import contextlib
import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from microtome.cli import main
from microtome.data.stores import create_labels


def said(capsys):
    told = capsys.readouterr()
    return told.out + told.err


def evaluate(*words):
    return main(["evaluate", *map(str, words)])


@pytest.fixture
def plates(tmp_path):
    """Class maps that tell no spacing; in one the plate lies two rows further down."""
    for side, moved in (("found", 2), ("true", 0)):
        (tmp_path / side).mkdir()
        for name, by in (("moved", moved), ("right", 0)):
            classes = np.zeros((20, 30), np.uint8)
            classes[6 + by : 9 + by] = 1
            Image.fromarray(classes).save(tmp_path / side / f"{name}.png")
    return ["--predictions", tmp_path / "found", "--truth", tmp_path / "true", "--task", "semantic"]


def test_surfaces(plates, tmp_path, capsys):
    out = tmp_path / "out"
    words = [*plates, "--class_names", "back,plate", "--surface_tolerance", 1.5, "--draws", 50]
    assert evaluate(*words) == 2
    assert "the spacing of moved, right is not known: give --spacing_um" in said(capsys)
    assert evaluate(*words, "--spacing_um", 0.5, 2, "--output", out) == 0
    text = said(capsys)
    assert "HD95 µm" in text and "mean_surface_dice" in text
    report = json.loads((out / "metrics.json").read_text())
    assert report["images"]["moved"]["hd95/plate"] == 1
    assert report["pooled"]["surface_dice/plate"] == 1
    assert "hd95" in (out / "index.html").read_text()
    assert evaluate(*words, "--spacing_um", 1) == 0
    row = next(line for line in said(capsys).splitlines() if line.startswith("plate"))
    assert row.split()[-2] == "1.0000", "the mean of 2 and 0 pixels"


def test_surfaces_in_the_spacing_of_files(tmp_path, capsys):
    for side, moved in (("found", 1), ("true", 0)):
        store = create_labels(tmp_path / side / "x.zarr", (8, 9, 9), spacing=(4.0, 1.0, 1.0))
        classes = np.zeros((8, 9, 9), np.uint32)
        classes[3 + moved : 5 + moved] = 1
        store.write((slice(0, 8), slice(0, 9), slice(0, 9)), classes)
        store.finish()
    words = ["--predictions", tmp_path / "found", "--truth", tmp_path / "true"]
    more = ["--task", "semantic", "--class_names", "back,plate", "--surface_tolerance", 3]
    assert evaluate(*words, *more) == 0
    row = next(line for line in said(capsys).splitlines() if line.startswith("plate"))
    assert row.split()[-2:] == ["4.0000", "0.5000"], "one of two planes is off by 4 µm"


@pytest.mark.parametrize(
    "words, why",
    [
        (["--surface_tolerance", -1], "expected micrometres from 0 on, got -1.0"),
        (["--surface_tolerance", 1, "--spacing_um", 0], "expected micrometres above 0"),
        (["--spacing_um", 1], "--spacing_um is for --surface_tolerance"),
        (["--cap", 5], "--cap counts detections"),
    ],
)
def test_mistakes_with_class_maps(plates, words, why, capsys):
    assert evaluate(*plates, "--class_names", "back,plate", *words) == 2
    assert why in said(capsys)


def blocks(random, count):
    masks = np.zeros((count, 40, 50), bool)
    for mask in masks:
        y, x = random.integers(0, 30), random.integers(0, 40)
        mask[y : y + random.integers(4, 10), x : x + random.integers(4, 10)] = True
    return masks


@pytest.fixture
def coco(tmp_path):
    """A truth of three images, the last without objects, and detections of the first two."""
    random = np.random.default_rng(0)
    there, found = [], []
    for image in (7, 9):
        masks = blocks(random, 12)
        moved = [np.roll(mask, random.integers(-1, 2), 0) for mask in masks]
        for number, mask in enumerate([*masks, *moved, *blocks(random, 3)]):
            rle = run_lengths.encode(np.asfortranarray(mask.astype(np.uint8)))
            rle["counts"] = rle["counts"].decode()
            one = {"image_id": image, "category_id": 3 + number % 2 * 5, "segmentation": rle}
            if number < 12:
                about = {"id": len(there) + 1, "iscrowd": 0, "area": int(mask.sum())}
                there.append(one | about)
            else:
                found.append(one | {"score": round(float(random.random()), 3)})
    images = [{"id": i, "file_name": f"{i}.png", "height": 40, "width": 50} for i in (7, 9, 12)]
    kinds = [{"id": 3, "name": "round"}, {"id": 8, "name": "flat"}]
    truth = {"images": images, "annotations": there, "categories": kinds}
    for name, content in (("truth", truth), ("found", found)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path / "found.json", tmp_path / "truth.json"


def test_files_of_coco_give_the_numbers_of_pycocotools(coco, tmp_path, capsys):
    found, truth = coco
    with contextlib.redirect_stdout(io.StringIO()):
        there = COCO(str(truth))
        judge = COCOeval(there, there.loadRes(str(found)), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    words = ["--predictions", found, "--truth", truth, "--output", tmp_path / "out"]
    assert evaluate(*words, "--draws", 20, "--cap", 100) == 0
    assert "over 3 images" in said(capsys)
    numbers = json.loads((tmp_path / "out" / "metrics.json").read_text())["pooled"]
    have = [numbers[f"mean_{key}"] for key in ("coco_ap", "coco_ap50", "coco_ap75")]
    np.testing.assert_allclose(have, judge.stats[:3], atol=1e-6)
    assert 0.2 < have[0] < 0.95
    whole = json.loads(truth.read_text()) | {"annotations": json.loads(found.read_text())}
    found.write_text(json.dumps(whole))
    assert evaluate(*words, "--draws", 20, "--cap", 100) == 0
    again = json.loads((tmp_path / "out" / "metrics.json").read_text())["pooled"]
    assert again["coco_ap/flat"] == numbers["coco_ap/flat"]


def test_mistakes_with_files_of_coco(coco, tmp_path, capsys):
    found, truth = coco
    assert evaluate("--predictions", found, "--truth", tmp_path) == 2
    assert "give two folders, or two files" in said(capsys)
    assert evaluate("--predictions", found, "--truth", truth, "--task", "semantic") == 2
    assert "files of COCO's hold objects" in said(capsys)
    assert evaluate("--predictions", found, "--truth", truth, "--surface_tolerance", 1) == 2
    assert "these are objects" in said(capsys)
    other = json.loads(truth.read_text())
    other["categories"][1]["name"] = "long"
    found.write_text(json.dumps(other))
    assert evaluate("--predictions", found, "--truth", truth) == 2
    assert "has no category long" in said(capsys)
    found.write_text(json.dumps([{"image_id": 5, "category_id": 3}]))
    assert evaluate("--predictions", found, "--truth", truth) == 2
    assert "there is no image 5" in said(capsys)
