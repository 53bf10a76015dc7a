"""`predict`, `validate` and `evaluate` of a run's folder, on its own data, and how sure it was."""

import json
import shutil

import pytest
import tifffile
from PIL import Image

from microtome.cli import main


def predict(*words):
    return main(["predict", "--device", "cpu", *map(str, words)])


def masks(out):
    return sorted(p.stem for p in (out / "predictions_masks").iterdir())


def test_a_run_predicts_the_test_images_of_its_own_data(finished, tmp_path):
    out = tmp_path / "out"
    assert predict("--ckpt_path", finished.folder, "--output", out, "--confidence") == 0
    assert masks(out) == ["tissue_0008", "tissue_0009"]
    assert set(json.loads((out / "metrics.json").read_text())["images"]) == set(masks(out))
    sure = tifffile.imread(out / "confidence" / "tissue_0008.tif")
    assert sure.shape == (64, 64) and 0.2 <= sure.min() < sure.max() <= 1
    Image.open(out / "confidence" / "tissue_0008.png").verify()
    # the file in the folder is the same model, so the run goes on
    best = finished.folder / "checkpoints" / "best.ckpt"
    assert predict("--ckpt_path", best, "--output", out) == 0


def test_another_split_of_the_folder_of_checkpoints(finished, tmp_path):
    folder, out = finished.folder / "checkpoints", tmp_path / "out"
    assert predict("--ckpt_path", folder, "--split", "val", "--output", out) == 0
    assert masks(out) == ["tissue_0006", "tissue_0007"]


def test_it_says_what_is_missing(finished, tissue, tmp_path, capsys):
    out = ["--output", tmp_path / "out"]
    best = finished.folder / "checkpoints" / "best.ckpt"
    assert predict("--ckpt_path", best, "--split", "tset", *out) == 2
    assert "train, val, test, not 'tset'" in capsys.readouterr().err
    for name in ("first", "second"):
        shutil.copy(best, tmp_path / f"{name}.ckpt")
    assert predict("--ckpt_path", tmp_path, *out) == 2
    assert "first.ckpt, second.ckpt: name one of them" in capsys.readouterr().err
    assert main(["export", "--ckpt_path", str(best), "--output", str(tmp_path / "shared")]) == 0
    assert predict("--ckpt_path", tmp_path / "shared", *out) == 2
    assert "an exported model holds no data" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_that_are_named_need_no_split(finished, tissue, tmp_path, split):
    image = next((tissue.parent / "images").iterdir())
    words = ["--input", image, "--split", split, "--output", tmp_path]
    assert predict("--ckpt_path", finished.folder, *words) == 0
    assert masks(tmp_path) == [image.stem]


def test_a_run_is_validated_by_its_folder(finished, tmp_path, capsys):
    assert main(["validate", "--ckpt_path", str(finished.folder), "--device", "cpu"]) == 0
    assert "pixel accuracy" in capsys.readouterr().out
    assert main(["validate", "--ckpt_path", str(tmp_path)]) == 2
    assert "no checkpoint (*.ckpt)" in capsys.readouterr().err


def test_a_run_is_evaluated_with_as_many_pictures_as_wanted(finished, tmp_path):
    words = ["evaluate", "--ckpt_path", finished.folder, "--split", "test", "--device", "cpu"]
    words += ["--output", tmp_path, "--draws", 10, "--pictures", 1]
    assert main(list(map(str, words))) == 0
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == [
        "best_0.png",
        "worst_0.png",
    ]
    with Image.open(tmp_path / "pictures" / "worst_0.png") as picture:
        assert picture.width >= 4 * 320  # image, truth, prediction, errors
    assert (tmp_path / "index.html").read_text().count("<img") == 2
    assert main([*map(str, words[:-1]), "0"]) == 2
