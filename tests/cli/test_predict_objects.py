"""`microtome predict` with a model that finds objects."""

import csv
import json

import pytest
from untrained import save_untrained

from microtome.cli import main
from microtome.data.image_dataset import ManifestDataset


@pytest.fixture
def classes(tissue):
    return ManifestDataset(str(tissue), "test").classes


@pytest.fixture
def model(classes, tmp_path):
    return save_untrained(classes, tmp_path / "model")


def test_formats_are_chosen(model, classes, tissue, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["predict", "--ckpt_path", model, "--input", tissue, "--output", out]
    words += ["--device", "cpu", "--objects"]
    assert main([*map(str, words), "tif,xml"]) == 2
    assert "no format xml; choose of tif, zarr" in capsys.readouterr().err
    assert not out.exists()
    assert main([*map(str, words), "tif,geojson,coco"]) == 0
    names = sorted(path.name for path in (out / "instances").iterdir())
    ends = ("coco.json", "csv", "geojson", "tif")
    assert names == [f"tissue_000{i}.{end}" for i in (8, 9) for end in ends]
    rows = list(csv.DictReader((out / "objects.csv").read_text().splitlines()))
    features = json.loads((out / "instances" / "tissue_0008.geojson").read_text())["features"]
    assert len(features) == sum(row["image"] == "tissue_0008" for row in rows) > 0
    assert {row["class"] for row in rows} <= set(classes.names)
    said = capsys.readouterr().out
    assert "2 images predicted" in said and "AP_dsb@0.5" in said


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_averages_are_refused_before_work(verb, model, tissue, tmp_path, capsys):
    words = [verb, "--ckpt_path", str(model), "--tta", "mirror", "--device", "cpu"]
    words += {
        "predict": ["--input", str(tissue), "--output", str(tmp_path / "out")],
        "evaluate": ["--data", str(tissue)],
    }[verb]
    assert main(words) == 2
    assert "this model answers with objects" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_objects_are_sifted_by_the_score_that_is_asked(model, tissue, tmp_path):
    words = ["predict", "--ckpt_path", model, "--input", tissue, "--device", "cpu"]
    found = {}
    for least in ("0", "0.4"):
        out = tmp_path / least
        assert main([*map(str, words), "--output", str(out), "--min_score", least]) == 0
        rows = csv.DictReader((out / "objects.csv").read_text().splitlines())
        found[least] = [float(row["score"]) for row in rows]
        made_by = json.loads((out / "run.json").read_text())["settings"]["made_by"]
        assert made_by["min_score"] == least
    assert len(found["0"]) > len(found["0.4"])
    assert not found["0.4"] or min(found["0.4"]) >= 0.4
    assert min(found["0"]) < 0.4


def test_confidence_in_stores_is_of_classes(model, tissue, tmp_path, capsys):
    words = ["predict", "--ckpt_path", model, "--input", tissue, "--output", tmp_path / "out"]
    assert main([*map(str, words), "--device", "cpu", "--store", "--confidence"]) == 2
    assert "their scores stand in objects.csv" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
