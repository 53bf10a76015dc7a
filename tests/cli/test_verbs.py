"""The verbs as a user types them: exit codes, files, messages."""

import contextlib
import io
import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from microtome.cli import main
from microtome.cli.speak import speak


@pytest.fixture
def checkpoint(finished):
    return finished.folder / "checkpoints" / "best.ckpt"


def test_predict_writes_masks_overlays_and_metrics(checkpoint, tissue, tmp_path, capsys):
    out = tmp_path / "out"
    args = ["--ckpt_path", checkpoint, "--input", tissue, "--output", out, "--device", "cpu"]
    assert main(["predict", *map(str, args)]) == 0
    masks = sorted((out / "predictions_masks").glob("*.png"))
    assert [m.name for m in masks] == ["tissue_0008.png", "tissue_0009.png"]
    assert np.asarray(Image.open(masks[0])).shape == (64, 64)
    assert np.asarray(Image.open(masks[0])).max() < 5
    assert len(list((out / "predictions_overlays").glob("*.png"))) == 2
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics["images"]) == {"tissue_0008", "tissue_0009"}
    assert "2 images predicted" in capsys.readouterr().out


def test_predict_reports_what_failed_and_does_the_rest(checkpoint, tissue, tmp_path, capsys):
    images = tmp_path / "images"
    shutil.copytree(tissue.parent / "images", images)
    (images / "broken.png").write_bytes(b"\x89PNG no more")
    args = ["--ckpt_path", checkpoint, "--input", images, "--output", tmp_path / "out"]
    assert main(["predict", *map(str, args)]) == 1
    assert "broken.png" in capsys.readouterr().err
    done = len(list((tmp_path / "out" / "predictions_masks").glob("*.png")))
    assert done == len(list(images.iterdir())) - 1


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"--ckpt_path": "nowhere.ckpt"}, "no such checkpoint"),
        ({"--ckpt_path": "https://example.org/a.ckpt"}, "local files only"),
        ({"--input": "nowhere"}, "no such file or folder"),
        ({"--tile": "0"}, "tile"),
        ({"--overlap": "1.5"}, "overlap"),
        ({"--device": "cuda:77"}, "not on this machine"),
    ],
)
def test_predict_refuses_before_it_starts(checkpoint, tissue, tmp_path, capsys, changed, says):
    given = {"--ckpt_path": checkpoint, "--input": tissue, "--output": tmp_path / "out", **changed}
    assert main(["predict", *(str(word) for pair in given.items() for word in pair)]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_validate_prints_the_table(checkpoint, capsys):
    assert main(["validate", "--ckpt_path", str(checkpoint), "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "lumen" in told
    assert "pixel accuracy" in told


def test_validate_without_a_checkpoint_is_refused(capsys):
    assert main(["validate"]) == 2
    assert "--ckpt_path" in capsys.readouterr().err


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys):
    evil = tmp_path / "evil.ckpt"
    marker = tmp_path / "ran"
    evil.write_bytes(b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.")
    assert main(["validate", "--ckpt_path", str(evil)]) == 2
    assert (
        main(["predict", "--ckpt_path", str(evil), "--input", str(tmp_path), "--output", "o"]) == 2
    )
    assert not marker.exists()
    assert "evil.ckpt" in capsys.readouterr().err


def test_inspect_reports_and_writes(tissue, tmp_path, capsys):
    assert main(["inspect", str(tissue), "--output", str(tmp_path / "report.json")]) == 0
    assert "no problems" in capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["splits"]["train"]["images"] == 6


def test_what_is_said_goes_to_the_stdout_of_the_moment(capsys):
    speak()
    speak()
    moment = io.StringIO()
    with contextlib.redirect_stdout(moment):
        logging.getLogger("microtome").info("epoch 1")
    assert moment.getvalue() == "epoch 1\n"
    assert capsys.readouterr().out == ""


def test_inspect_draws_what_transforms_make(tissue, tmp_path, capsys):
    """The same samples every time, whole and tinted, of any recipe; a manifest has none."""
    words = ["inspect", "demo", f"data.init_args.manifest={tissue}", "transforms=histology"]
    for folder in ("one", "two"):
        assert main([*words, "--pictures", str(tmp_path / folder)]) == 0
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names[0] == "train_00.png" and 1 < len(names) <= 12
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    capsys.readouterr()
    assert main(["inspect", str(tissue), "--pictures", str(tmp_path / "three")]) == 2
    assert "give a config, not a .json" in capsys.readouterr().err


def test_inspect_refuses_a_place_where_nothing_can_be_written(tissue, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["inspect", str(tissue), "--output", str(tmp_path / "file" / "x.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_inspect_ends_with_one_when_there_are_problems(tissue, tmp_path, capsys):
    manifest = json.loads(tissue.read_text())
    manifest["data"]["train"][0]["image_path"] = "missing.png"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert main(["inspect", str(tmp_path / "manifest.json")]) == 1
    assert "missing.png" in capsys.readouterr().out


def test_print_config_prints_a_config_that_runs(tissue, tmp_path, capsys):
    manifest = f"data.init_args.manifest={tissue}"
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--config", "demo", manifest, "--print_config"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    (tmp_path / "printed.yaml").write_text(printed)
    again = ["fit", "--config", str(tmp_path / "printed.yaml"), "--fast_dev_run", "--device", "cpu"]
    assert main(again) == 0


def test_doctor_reports_versions_devices_operators_and_folders(capsys):
    assert main(["doctor"]) in (0, 1)
    told = capsys.readouterr().out
    for word in ("torch", "cpu", "masks_to_boxes", "GiB free"):
        assert word in told


@pytest.mark.parametrize("word", ["glass", "tissue nuclei3d"])
def test_demo_knows_two_things(word, capsys):
    assert main(["demo", *word.split()]) == 2
    assert "tissue, nuclei3d" in capsys.readouterr().err


def test_demo_in_three_dimensions(tmp_path, capsys, monkeypatch):
    """The same job on volumes: generate, train, predict, compare."""
    monkeypatch.setattr("microtome.cli.demo.NUCLEI", {"train": 2, "val": 1, "test": 1})
    small = "{strides: [1, [1, 2, 2], 2], filters: [4, 8, 8]}"
    args = [
        "nuclei3d",
        "--output",
        str(tmp_path),
        "trainer.max_epochs=1",
        "trainer.check_val_every_n_epoch=1",
        "data.init_args.workers=0",
        "data.init_args.crop=[8,32,32]",
        "trainer.accelerator=cpu",
        f"model.segmenter.init_args.backbone.init_args.options={small}",
    ]
    assert main(["demo", *args]) == 0
    assert "nearest mean colour" in capsys.readouterr().out
    out = tmp_path / "nuclei3d" / "runs" / "nuclei3d" / "predictions"
    assert len(list((out / "predictions_masks").glob("*.tif"))) == 1
    assert len(list((out / "predictions_overlays").glob("*.png"))) == 1
