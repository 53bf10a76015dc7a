from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch.nn import functional as F

from microtome.data.image_dataset import ImageDataset
from microtome.data.records import Record
from microtome.data.stores import open_source, read_labels
from microtome.inference import Tiling
from microtome.inference.batch import predict_files
from microtome.inference.inputs import Inputs
from microtome.inference.outputs import Outputs
from microtome.structures import Classes, Segmentation

CLASSES = Classes(("back", "front"))
TILING = Tiling(tile=32, overlap=0.5, batch_size=2)


@dataclass
class Bright:
    """Class 1 where it is bright; counts the tiles it saw."""

    seen: list = field(default_factory=list)

    def predict_samples(self, samples):
        self.seen += [s.meta["name"] for s in samples]
        return [
            Segmentation(scores=F.one_hot((s.image.mean(0) > 0.5).long(), 2).movedim(-1, 0).float())
            for s in samples
        ]


@pytest.fixture
def folder(tmp_path):
    """Two images of a bright square, one with a mask that misses it by a column."""
    for name, shape in (("one", (40, 50)), ("sub/two", (64, 33))):
        pixels = np.zeros((*shape, 3), np.uint8)
        pixels[10:20, 10:20] = 255
        file = tmp_path / "in" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    mask = np.zeros((40, 50), np.uint8)
    mask[10:20, 10:19] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path


def inputs_of(folder, names=("one", "sub/two"), mask="mask.png"):
    files = [folder / "in" / f"{name}.png" for name in names]
    masks = [folder / mask if name == "one" else None for name in names]
    records = [Record(file, mask) for file, mask in zip(files, masks, strict=True)]
    return Inputs(ImageDataset(records, CLASSES), tuple(names))


def test_masks_overlays_and_metrics(folder):
    told, out = [], folder / "out"
    summary = predict_files(
        inputs_of(folder), Bright(), out, TILING, progress=lambda *now: told.append(now)
    )
    found = read_labels(out / "predictions_masks" / "one.png")
    assert found.dtype == np.uint8
    assert found.shape == (40, 50)
    assert found.sum() == 100
    assert found[10:20, 10:20].all()
    assert read_labels(out / "predictions_masks" / "sub" / "two.png").sum() == 100
    for name in ("one", "sub/two"):
        with Image.open(out / "predictions_overlays" / f"{name}.png") as picture:
            assert min(picture.size) > 100
    assert summary.metrics["iou/front"] == pytest.approx(0.9)
    written = json.loads((out / "metrics.json").read_text())
    assert written["pooled"]["iou/front"] == pytest.approx(0.9)
    assert list(written["images"]) == ["one"]
    assert summary[2:] == (2, 0, {}, {})
    assert not (out / "errors.json").exists()
    assert told[-1] == (2, 2)
    assert told == sorted(told)


def test_the_mask_of_a_jpeg_is_a_png_and_exact(folder):
    pixels = np.asarray(Image.open(folder / "in" / "one.png"))
    Image.fromarray(pixels).save(folder / "in" / "lossy.jpg", quality=95)
    records = [Record(folder / "in" / "lossy.jpg")]
    predict_files(Inputs(ImageDataset(records, CLASSES), ("lossy",)), Bright(), folder, TILING)
    assert [p.name for p in (folder / "predictions_masks").iterdir()] == ["lossy.png"]
    found = read_labels(folder / "predictions_masks" / "lossy.png")
    assert set(np.unique(found)) == {0, 1} and found.sum() == 100
    assert (folder / "predictions_overlays" / "lossy.png").exists()  # also without a mask


def test_an_unreadable_image_does_not_stop_the_others(folder):
    (folder / "in" / "broken.png").write_bytes(b"\x89PNG but not really")
    model, out = Bright(), folder / "out"
    summary = predict_files(inputs_of(folder, ("broken", "one")), model, out, TILING)
    assert list(summary.errors) == ["broken"]
    assert "broken.png" in json.loads((out / "errors.json").read_text())["broken"]
    assert summary.predicted == 1
    assert list(summary.images) == ["one"]
    assert "broken" not in model.seen


def test_a_bad_mask_does_not_cost_the_prediction(folder):
    Image.new("L", (3, 3)).save(folder / "wrong.png")
    out = folder / "out"
    summary = predict_files(inputs_of(folder, mask="wrong.png"), Bright(), out, TILING)
    assert "wrong.png" in summary.errors["one"]
    assert summary.predicted == 2
    assert not summary.metrics
    assert (out / "predictions_overlays" / "one.png").exists()


def test_a_killed_run_goes_on_and_scores_everything(folder):
    out, inputs = folder / "out", inputs_of(folder)
    whole = predict_files(inputs, Bright(), out, TILING)
    (out / "predictions_overlays" / "sub" / "two.png").unlink()
    model = Bright()
    again = predict_files(inputs, model, out, TILING)
    assert set(model.seen) == {"two"}
    assert (again.predicted, again.kept) == (1, 1)
    assert again.metrics == pytest.approx(whole.metrics)
    model = Bright()
    assert predict_files(inputs, model, out, TILING, overwrite=True).predicted == 2
    assert set(model.seen) == {"one", "two"}


def test_runs_are_not_mixed(folder):
    out, inputs = folder / "out", inputs_of(folder)
    predict_files(inputs, Bright(), out, TILING, made_by={"sha256": "abc"})
    predict_files(inputs, Bright(), out, TILING._replace(batch_size=9), made_by={"sha256": "abc"})
    with pytest.raises(FileExistsError, match="tile was 32 and is now 16"):
        predict_files(inputs, Bright(), out, TILING._replace(tile=16), made_by={"sha256": "abc"})
    with pytest.raises(FileExistsError, match="made_by was"):
        predict_files(inputs, Bright(), out, TILING)
    other = Inputs(ImageDataset([Record(folder / "in" / "sub" / "two.png")], CLASSES), ("one",))
    with pytest.raises(FileExistsError, match=r"'one' was .*one.png and is now .*two.png"):
        predict_files(other, Bright(), out, TILING, made_by={"sha256": "abc"})
    only = inputs_of(folder, ("one",))
    predict_files(only, Bright(), out, TILING, made_by={"sha256": "def"}, overwrite=True)
    assert not (out / "predictions_masks" / "sub" / "two.png").exists()


def test_a_folder_of_somebody_else_is_left_alone(folder):
    theirs = folder / "out" / "predictions_masks" / "one.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    with pytest.raises(FileExistsError, match=r"no run.json"):
        predict_files(inputs_of(folder), Bright(), folder / "out", TILING, overwrite=True)
    assert theirs.read_text() == "mine"


def test_impossible_tilings_are_refused_first(folder):
    with pytest.raises(ValueError, match=r"mode: .*tile: .*overlap: .*batch_size: "):
        predict_files(inputs_of(folder), Bright(), folder / "out", Tiling("both", 0, 1.0, 0))
    assert not (folder / "out").exists()


def test_resizing_comes_back_in_the_original_size(folder):
    out = folder / "out"
    predict_files(inputs_of(folder), Bright(), out, Tiling("resize", 64))
    found = read_labels(out / "predictions_masks" / "one.png")
    assert found.shape == (40, 50)
    assert abs(int(found.sum()) - 100) <= 12


def test_a_volume_is_written_with_its_spacing(tmp_path):
    pixels = np.zeros((6, 20, 24), np.uint8)
    pixels[2:4, 5:10, 5:10] = 200
    file = tmp_path / "volume.tif"
    metadata = {"axes": "ZYX", "unit": "um", "spacing": 2.0}
    tifffile.imwrite(file, pixels, imagej=True, resolution=(2, 4), metadata=metadata)
    inputs = Inputs(ImageDataset([Record(file)], CLASSES), ("volume",))
    predict_files(inputs, Bright(), tmp_path / "out", Tiling(tile=16))
    written = tmp_path / "out" / "predictions_masks" / "volume.tif"
    assert np.array_equal(read_labels(written), pixels > 0)
    assert open_source(written, levels=(0, 1)).info.spacing == pytest.approx((2.0, 0.25, 0.5))
    assert (tmp_path / "out" / "predictions_overlays" / "volume.png").exists()


@pytest.mark.parametrize("shape", [(9, 7), (3, 9, 7)])
def test_many_classes_take_16_bits(tmp_path, shape):
    outputs = Outputs(tmp_path)
    classes = torch.full(shape, 700, dtype=torch.int32)
    outputs.write_classes("many", classes, None)
    assert torch.equal(outputs.read_classes("many"), classes)
