"""Many images of a model that answers with objects."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from scipy import ndimage

from microtome.data.image_dataset import ImageDataset
from microtome.data.records import Record
from microtome.data.stores import ArraySource, ImageReadError
from microtome.inference import Tiling, stored_answers
from microtome.inference.batch import predict_files
from microtome.inference.inputs import Inputs, find_inputs
from microtome.inference.into_stores import predict_into_stores
from microtome.structures import Classes, Instances, LabelLayers, Segmentation

CLASSES = Classes(("back", "cell"), things=(False, True))
SHAPES = [(40, 50), (8, 40, 50)]


class Bright:
    """What is bright and connected is an object; remembers which images it saw."""

    def __init__(self):
        self.seen = []

    def predict_samples(self, samples):
        self.seen += [sample.meta["name"] for sample in samples]
        return [Segmentation(instances=self.objects(sample.image)) for sample in samples]

    def objects(self, image):
        parts, count = ndimage.label(image.mean(0).numpy() > 0.5)
        masks = LabelLayers.from_ids(torch.from_numpy(parts.astype(np.int64)))
        labels, scores = torch.ones(count, dtype=torch.int64), torch.linspace(0.5, 1, count)
        return Instances(labels, scores=scores, masks=masks)


@pytest.fixture(params=SHAPES, ids=["2", "3"])
def folder(request, tmp_path):
    """Three bright blocks; the truth has two of them, and the third is not judged."""
    shape = request.param
    before = (slice(2, 6),) * (len(shape) - 2)
    pixels, truth = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for number, left in enumerate((4, 20, 36), 1):
        pixels[(*before, slice(10, 20), slice(left, left + 8))] = 255
        truth[(*before, slice(10, 20), slice(left, left + 8))] = number
    truth[..., 18:20, 4:12] = 0
    mask = np.where(truth == 3, 255, truth > 0).astype(np.uint8)
    resolution = {"resolution": (4, 4), "imagej": True}
    meta = {"unit": "um"} | ({"axes": "ZYX", "spacing": 0.5} if len(shape) == 3 else {"axes": "YX"})
    for name, values in {"in/one": pixels, "labels": truth, "mask": mask, "in/two": pixels}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / f"{name}.tif", values, metadata=meta, **resolution)
    return tmp_path


def inputs_of(folder):
    records = [
        Record(folder / "in" / "one.tif", folder / "mask.tif", folder / "labels.tif"),
        Record(folder / "in" / "two.tif"),
    ]
    return Inputs(ImageDataset(records, CLASSES), ("one", "two"))


def test_maps_tables_pictures_and_metrics(folder):
    out = folder / "out"
    summary = predict_files(inputs_of(folder), Bright(), out, objects=["tif", "geojson"])
    assert summary.errors == {} and summary.predicted == 2
    assert summary.metrics["ap_dsb@0.5"] == summary.metrics["recall@0.5/cell"] == 1
    assert summary.metrics["pq/cell"] == pytest.approx((1 + 8 / 10) / 2)
    written = json.loads((out / "metrics.json").read_text())
    assert written["images"]["one"]["ap_dsb@0.9"] == pytest.approx(1 / 3)
    assert list(written["images"]) == ["one"]
    assert sorted(path.name for path in (out / "instances").iterdir()) == [
        f"{name}.{end}" for name in ("one", "two") for end in ("csv", "geojson", "tif")
    ]
    rows = list(csv.DictReader((out / "objects.csv").read_text().splitlines()))
    assert [row["image"] for row in rows] == ["one"] * 3 + ["two"] * 3
    flat = len(rows[0]) == 14
    assert float(rows[0]["area_um2" if flat else "volume_um3"]) == (5 if flat else 10)
    assert float(rows[0]["centroid_y_um"]) == pytest.approx(14.5 / 4)
    pictures = sorted(path.name for path in (out / "predictions_overlays").iterdir())
    assert pictures == ["one.png", "two.png"] if flat else ["one.png", "one.projection.png"]
    assert not (out / "predictions_masks").exists()
    with Image.open(out / "predictions_overlays" / "one.png") as picture:
        assert min(picture.size) > 100


def test_a_killed_run_goes_on_and_new_formats_are_added(folder):
    out = folder / "out"
    first = predict_files(inputs_of(folder), Bright(), out)
    (out / "predictions_overlays" / "two.png").unlink()
    model = Bright()
    again = predict_files(inputs_of(folder), model, out)
    assert model.seen == ["two"] and (again.predicted, again.kept) == (1, 1)
    assert again.metrics == pytest.approx(first.metrics, nan_ok=True)
    more = predict_files(inputs_of(folder), Bright(), out, objects=["tif", "coco"])
    assert more.predicted == 2 and (out / "instances" / "one.coco.json").is_file()
    fresh = predict_files(inputs_of(folder), Bright(), out, overwrite=True)
    assert fresh.predicted == 2 and not (out / "instances" / "one.coco.json").exists()
    with pytest.raises(ValueError, match="there is no format xml"):
        predict_files(inputs_of(folder), Bright(), folder / "other", objects=["xml"])


def test_into_stores_it_is_the_same(folder, monkeypatch):
    tiling = Tiling(tile=64, overlap=0.5)
    plain = predict_files(inputs_of(folder), Bright(), folder / "plain", tiling)
    expected = []
    stored = predict_into_stores(
        inputs_of(folder), Bright(), folder / "out", tiling, expect=expected.append
    )
    assert [text.split(":")[0] for text in expected] == ["one", "two"]
    assert stored.metrics == pytest.approx(plain.metrics, nan_ok=True)
    assert (stored.predicted, stored.errors, stored.unscored) == (2, {}, {})
    for file in ("metrics.json", "objects.csv", "instances/one.csv"):
        assert (folder / "out" / file).read_text() == (folder / "plain" / file).read_text()
    one, other = (folder / kind / "predictions_overlays" for kind in ("plain", "out"))
    assert {p.name for p in one.iterdir()} == {p.name for p in other.iterdir()}
    for picture in one.iterdir():
        assert picture.read_bytes() == (other / picture.name).read_bytes()
    monkeypatch.setattr(stored_answers, "SCORED", 100)
    (other / "one.png").unlink()
    again = predict_into_stores(inputs_of(folder), Bright(), folder / "out", tiling)
    assert (again.predicted, again.kept, again.metrics) == (1, 1, {})
    assert "matched in memory, in images of at most 100 pixels" in again.unscored["one"]
    written = json.loads((folder / "out" / "metrics.json").read_text())
    assert list(written) == ["not_scored"]


class Dark:
    """Class 1 where an image is bright."""

    def predict_samples(self, samples):
        bright = [(s.image.mean(0) > 0.5).float() for s in samples]
        return [Segmentation(scores=torch.stack([1 - b, b])) for b in bright]


class Broken(ArraySource):
    """An image whose far end cannot be read."""

    def read(self, region):
        if region[-1].stop > 40:
            raise ImageReadError("one.tif", "is torn")
        return super().read(region)


def test_what_could_not_be_read_is_told_and_not_judged(folder, monkeypatch):
    inputs = inputs_of(folder)
    pixels = torch.from_numpy(tifffile.imread(folder / "in" / "one.tif")[None] / 255).float()
    torn = Broken(pixels, name="one")
    monkeypatch.setattr(ImageDataset, "source", lambda self, item: torn)
    tiling = Tiling(tile=10, overlap=0, batch_size=1)
    result = predict_into_stores(inputs, Dark(), folder / "out", tiling)
    assert "regions were not predicted: [" in result.errors["one"]
    assert "40:50]: one.tif: is torn" in result.errors["one"]
    assert result.images["one"]["pixel_accuracy"] > 0.9, "of what was read"
    assert "iou/cell" in result.metrics and (folder / "out/predictions_overlays/one.png").is_file()


def test_what_was_written_is_no_input(folder):
    predict_files(inputs_of(folder), Bright(), folder / "in" / "out")
    assert find_inputs(folder / "in", CLASSES).names == ("one", "two")


def test_a_truth_of_classes_alone_does_not_judge_objects(folder):
    records = [Record(folder / "in" / "one.tif", folder / "mask.tif")]
    only_classes = Inputs(ImageDataset(records, CLASSES), ("one",))
    summary = predict_files(only_classes, Bright(), folder / "out")
    assert summary.errors == {} and summary.metrics == {}
