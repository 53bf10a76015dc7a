"""`microtome evaluate`: of checkpoints, baselines and label maps."""

import csv
import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from untrained import save_untrained

from microtome.cli import main
from microtome.data.image_dataset import ManifestDataset
from microtome.data.stores import create_labels
from microtome.data.synthetic import write_nuclei
from microtome.evaluation import evaluate_instances
from microtome.structures import Classes, Instances, LabelLayers, Segmentation


def said(capsys):
    told = capsys.readouterr()
    return told.out + told.err


def blocks(shape, moved=0):
    """Six objects in a row, the last not found where they are moved."""
    ids = np.zeros(shape, np.uint16)
    for number in range(1, 7 - bool(moved)):
        ids[..., 8 * number : 8 * number + 6] = number
    return np.roll(ids, moved, -1)


@pytest.fixture
def maps(tmp_path):
    """Predictions and truths in several formats; of one image the objects are moved."""
    found, true = tmp_path / "found", tmp_path / "true"
    for folder, moved in ((found, 1), (true, 0)):
        (folder / "more").mkdir(parents=True)
        Image.fromarray(blocks((20, 64), moved)).save(folder / "a.png")
        tifffile.imwrite(folder / "more" / "b.tif", blocks((20, 64)))
    tifffile.imwrite(true / "c.tif", blocks((4, 20, 64)), imagej=True, metadata={"axes": "ZYX"})
    store = create_labels(found / "c.zarr", (4, 20, 64), spacing=None)
    store.write((slice(0, 4), slice(0, 20), slice(0, 64)), blocks((4, 20, 64), 2).astype(np.uint32))
    store.finish()
    return found, true


def test_label_maps_of_any_format(maps, tmp_path, capsys):
    found, true = maps
    out = tmp_path / "out"
    words = ["evaluate", "--predictions", found, "--truth", true, "--output", out, "--draws", 50]
    assert main(list(map(str, words))) == 0
    text = said(capsys)
    assert "over 3 images" in text and "AP_dsb@0.5" in text and "95 % within" in text
    report = json.loads((out / "metrics.json").read_text())
    assert report["images"]["more/b"]["pq"] == 1
    assert report["images"]["a"]["recall@0.5"] == pytest.approx(5 / 6)
    assert report["images"]["a"]["sq"] == pytest.approx(5 / 7)
    half = report["images"]["c"]  # an IoU of exactly a half, for all that are found
    assert half["sq"] is None and half["ap_dsb@0.5"] == pytest.approx(5 / 6)
    pairs = [(blocks((20, 64), 1), blocks((20, 64))), (blocks((20, 64)),) * 2]
    pairs.append((blocks((4, 20, 64), 2), blocks((4, 20, 64))))
    results, truths = zip(*([segmentation(x) for x in pair] for pair in pairs), strict=True)
    classes = Classes(("background", "object"), things=(False, True))
    want = evaluate_instances(results, truths, classes)
    for key in ("pq", "aji", "aji_plus", "object_dice", "merged_iou", "count_error"):
        assert report["pooled"][key] == pytest.approx(want[key])
        low, high = report["intervals"][key]
        assert low <= want[key] <= high
    assert report["pooled"]["coco_ap"] is None, "label maps have no scores"
    assert report["means"]["sq"] == pytest.approx((5 / 7 + 1) / 2), "one of three has no sq"
    assert f"mean of images {report['means']['pq']:.4f}" in text
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    assert [row["of"] for row in rows[:2]] == ["all", "object"]
    assert {row["image"]: row["pq"] for row in rows if row["of"] == "all"}["more/b"] == "1.0"
    assert sum(row["of"].startswith("size ") for row in rows) == 3
    page = (out / "index.html").read_text()
    assert "small up to a side of 32 pixels" in page and "mean_" not in page
    assert "<td>-1</td>" in page, "a count is a whole number"
    assert "more/b" in page and page.count("<img") == 6 == len(list((out / "pictures").iterdir()))


def segmentation(ids):
    masks = LabelLayers.from_ids(torch.from_numpy(ids.astype(np.int64)))
    labels = torch.ones(len(masks), dtype=torch.int64)
    return Segmentation(instances=Instances(labels, masks=masks))


def test_class_maps(tmp_path, capsys):
    for name, values in (("found", [0, 1, 1, 1]), ("true", [0, 0, 1, 255])):
        (tmp_path / name).mkdir()
        Image.fromarray(np.array([values], np.uint8)).save(tmp_path / name / "x.png")
    words = ["evaluate", "--predictions", tmp_path / "found", "--truth", tmp_path / "true"]
    words = [*map(str, words), "--task", "semantic"]
    assert main(words) == 2
    assert "needs --class_names" in said(capsys)
    out = tmp_path / "out"
    assert main([*words, "--class_names", "stroma,gland", "--output", str(out)]) == 0
    assert "pixel accuracy 0.6667" in said(capsys)
    assert json.loads((out / "metrics.json").read_text())["pooled"]["iou/gland"] == 0.5
    assert main([*words, "--class_names", "stroma"]) == 2
    assert "x: truth: expected classes 0 to 0, found also 1" in said(capsys)


def test_what_does_not_go_together_is_listed(maps, tmp_path, capsys):
    found, true = maps
    Image.fromarray(blocks((20, 64))).save(found / "only_here.png")
    Image.fromarray(blocks((20, 60))).save(found / "more" / "b.png")
    words = ["evaluate", "--predictions", str(found), "--truth", str(true)]
    assert main(words) == 2
    assert "same name twice" in (text := said(capsys)) and "b.png and b.tif" in text
    (found / "more" / "b.tif").unlink()
    (true / "a.png").write_bytes(b"no picture")
    assert main(words) == 2
    text = said(capsys)
    assert "no truth for only_here" in text and "a.png" in text
    assert "more/b (prediction (20, 60), truth (20, 64))" in text
    assert main(["evaluate", "--predictions", str(found), "--truth", str(tmp_path / "gone")]) == 2
    assert "no such folder" in said(capsys)


@pytest.mark.parametrize(
    "words, why",
    [
        ([], "give one of --ckpt_path"),
        (["--ckpt_path", "x", "--predictions", "y"], "give one of"),
        (["--predictions", "y"], "--predictions and --truth go together"),
        (["--baseline", "otsu_watershed"], "--baseline needs --data"),
        (["--ckpt_path", "gone.ckpt"], "gone.ckpt: there is no such checkpoint"),
        (["--ckpt_path", "x", "--cap", "0"], "expected at least 1"),
    ],
)
def test_mistakes(words, why, capsys):
    assert main(["evaluate", *words]) == 2
    assert why in said(capsys)


def test_a_baseline_on_a_split(tissue, tmp_path, capsys, caplog):
    out = tmp_path / "out"
    words = ["evaluate", "--baseline", "otsu_watershed", "--foreground", "dark", "--radius", "3"]
    assert main([*words, "--data", str(tissue), "--split", "test", "--output", str(out)]) == 0
    assert "over 2 images" in said(capsys)
    assert "calls every object stroma" in caplog.text
    report = json.loads((out / "metrics.json").read_text())
    assert report["about"]["model"] == "otsu_watershed"
    assert set(report["images"]) == {"tissue_0008", "tissue_0009"}
    assert report["pooled"]["recall@0.5"] > 0


def test_objects_as_classes_of_pixels(tmp_path, capsys, caplog):
    data = write_nuclei(tmp_path / "data", {"train": 1, "val": 1, "test": 1}, (8, 32, 32))
    words = ["evaluate", "--baseline", "otsu_watershed", "--data", str(data), "--output"]
    assert main([*words, str(tmp_path / "objects"), "--draws", "1"]) == 0
    pixels = ["--task", "semantic", "--surface_tolerance", "1"]
    assert main([*words, str(tmp_path / "pixels"), "--draws", "1", *pixels]) == 0
    assert "HD95" in said(capsys)
    assert "calls every object" not in caplog.text, "there is one class of objects"
    objects, pixels = (
        json.loads((tmp_path / kind / "metrics.json").read_text())["pooled"]
        for kind in ("objects", "pixels")
    )
    assert "pq" in objects and "pq" not in pixels
    assert 0.2 < pixels["iou/nucleus"] == objects["merged_iou/nucleus"]
    assert pixels["dice/nucleus"] == objects["merged_dice/nucleus"]


def test_a_checkpoint_on_its_own_data(finished, capsys):
    """The numbers of `validate`."""
    checkpoint = finished.folder / "checkpoints" / "last.ckpt"
    assert main(["evaluate", "--ckpt_path", str(checkpoint), "--device", "cpu"]) == 0
    text = said(capsys)
    assert "over 2 images" in text
    assert main(["validate", "--ckpt_path", str(checkpoint)]) == 0
    table = said(capsys).partition("class ")[2].partition("\nloss")[0]
    assert len(table) > 100 and table in text


def test_a_model_of_objects_on_a_manifest(tissue, tmp_path, capsys):
    model = save_untrained(ManifestDataset(str(tissue), "test").classes, tmp_path / "model")
    out, words = tmp_path / "out", ["evaluate", "--ckpt_path", str(model)]
    assert main(words) == 2
    assert "an exported model holds no data: say which" in said(capsys)
    words += ["--data", str(tissue), "--split", "test", "--device", "cpu", "--output", str(out)]
    assert main(words) == 0
    report = json.loads((out / "metrics.json").read_text())
    assert report["pooled"]["coco_ap"] is not None
    assert 0 < report["about"]["most_detections_in_an_image"] <= 8
    assert main([*words, "--task", "semantic"]) == 0
    pixels = json.loads((out / "metrics.json").read_text())["pooled"]
    assert pixels["iou/nuclei"] == report["pooled"]["merged_iou/nuclei"]
