"""`--tta`: what is predicted, written down, refused."""

import json

import numpy as np
from PIL import Image

from microtome.cli import main
from microtome.inference import Averaged, Views
from microtome.models import load_segmenter


def test_predict_averages_and_says_so(finished, tissue, tmp_path, capsys):
    checkpoint = str(finished.folder / "checkpoints" / "last.ckpt")
    words = ["predict", "--ckpt_path", checkpoint, "--input", str(tissue), "--device", "cpu"]
    words += ["--output", str(tmp_path / "out"), "--tile", "32"]
    assert main([*words, "--tta", "both", "--tta_scales", "1", "1.5"]) == 0
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert settings["made_by"]["tta"] == "both at 1, 1.5"
    assert main(words) == 2, "the predictions there are of another run"
    segmenter = load_segmenter(checkpoint)
    written = sorted((tmp_path / "out" / "predictions_masks").iterdir())[0]
    image = next(tissue.parent.rglob(f"images/{written.name}"))
    averaged = segmenter.predict(image, tile=32, tta=Views("both", (1.0, 1.5))).classes
    assert np.array_equal(np.array(Image.open(written)), averaged.numpy())
    assert not averaged.equal(segmenter.predict(image, tile=32, tta="both").classes)
    assert isinstance(segmenter.averaging("turn"), Averaged)
    assert segmenter.averaging(None) is segmenter


def test_evaluate_averages(finished, tmp_path, capsys):
    checkpoint = str(finished.folder / "checkpoints" / "last.ckpt")
    words = ["evaluate", "--ckpt_path", checkpoint, "--draws", "1", "--output", str(tmp_path)]
    assert main([*words, "--tta", "mirror"]) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["about"]["tta"] == "mirror"
    assert main(["evaluate", "--baseline", "otsu_watershed", "--data", "x", "--tta", "turn"]) == 2
    assert "--tta, --tta_scales and --min_score are for --ckpt_path" in capsys.readouterr().err
    assert main([*words, "--tta_scales", "0"]) == 2
    assert "expected scales above 0" in capsys.readouterr().err
    assert main([*words, "--min_score", "0.5"]) == 2
    assert "sifts no objects by their scores" in capsys.readouterr().err
