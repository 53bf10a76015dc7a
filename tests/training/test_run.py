"""A whole run: what it writes, that it repeats, resumes, validates and refuses."""

import csv
import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Callback
from PIL import Image

from microtome.files import CorruptFileError, verify_file
from microtome.models import load_segmenter
from microtome.training.parser import ConfigError
from microtome.training.run import run
from microtome.training.stored import read_header
from small_runs import tiny_config


def weights_of(done):
    return {k: v.clone() for k, v in done.module.model.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_run_folder_is_as_promised(finished):
    folder = finished.folder
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert names >= {
        "config.yaml",
        "data.json",
        "training.log",
        "metrics.csv",
        "training_history.png",
        "checkpoints/best.ckpt",
        "checkpoints/best.ckpt.sha256",
        "checkpoints/last.ckpt",
        "checkpoints/last.ckpt.sha256",
        "visualizations/epoch_001_sample_00.png",
    }
    assert any(n.startswith("tensorboard/events") for n in names)
    assert not any(".part-" in n for n in names)
    Image.open(folder / "training_history.png").verify()


def test_the_table_has_a_row_per_epoch(finished):
    with (finished.folder / "metrics.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert [int(r["epoch"]) for r in rows] == [0, 1]
    assert [int(r["step"]) for r in rows] == [3, 6]
    for key in ("train/loss", "val/loss", "val/miou", "val/iou/gland", "lr", "seconds"):
        assert all(float(r[key]) >= 0 for r in rows), key
    assert float(rows[0]["lr"]) > float(rows[1]["lr"]) > 0
    assert "epoch 2/2" in (finished.folder / "training.log").read_text()


def test_the_checkpoint_says_all_that_is_needed(finished):
    header = read_header(finished.folder / "checkpoints" / "best.ckpt")
    assert header["config"] == yaml.safe_load((finished.folder / "config.yaml").read_text())
    assert header["usage"]["tile"] == 32
    assert header["usage"]["spacing"] == [0.8, 0.8]
    assert header["blueprint"]["init_args"]["classes"]["init_args"]["names"][2] == "gland"
    assert header["versions"]["torch"] == version("torch")
    assert len(header["data"]["fingerprint"]) == 64
    model = load_segmenter(finished.folder / "checkpoints" / "last.ckpt")
    assert equal(dict(model.state_dict()), weights_of(finished))


def test_the_same_config_gives_the_same_run(finished, tissue, tmp_path):
    config = yaml.safe_load((finished.folder / "config.yaml").read_text())
    again = run("fit", {**config, "runs": str(tmp_path)})
    assert equal(weights_of(again), weights_of(finished))
    assert again.metrics["val/miou"] == finished.metrics["val/miou"]


def test_the_number_of_workers_changes_nothing(finished, tissue, tmp_path):
    config = tiny_config(tissue, tmp_path)
    config["data"]["init_args"]["workers"] = 2
    assert equal(weights_of(run("fit", config)), weights_of(finished))


class SaveAt(Callback):
    """Saves a checkpoint after an optimiser step, in the middle of an epoch or at its end."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("step", [2, 3, 4])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_equals_the_uninterrupted_one(finished, tissue, tmp_path, step, workers):
    config = tiny_config(tissue, tmp_path / "runs")
    config["data"]["init_args"]["workers"] = workers
    path = tmp_path / "runs" / "tiny" / "checkpoints" / "stop.ckpt"
    run("fit", config, callbacks=[SaveAt(step, path)])
    resumed = run("fit", {**config, "ckpt_path": str(path)})
    assert resumed.folder == path.parent.parent  # it goes on in its own folder
    assert resumed.module.trainer.global_step == 6
    assert equal(weights_of(resumed), weights_of(finished))
    last = (resumed.folder / "metrics.csv").read_text().splitlines()[-1]
    assert last.startswith("1,6,")


def test_a_checkpoint_from_elsewhere_starts_a_folder_of_its_own(finished, tissue, tmp_path):
    path = finished.folder / "checkpoints" / "last.ckpt"
    config = tiny_config(tissue, tmp_path, max_epochs=3)
    done = run("fit", {**config, "ckpt_path": str(path)})
    assert done.folder == tmp_path / "tiny"
    assert done.module.trainer.global_step == 9


def test_a_run_never_writes_into_another(finished, tissue):
    again = run("fit", tiny_config(tissue, finished.folder.parent, max_epochs=1))
    assert again.folder.name == "tiny-2"


def test_a_trial_run_writes_nothing(tissue, tmp_path):
    done = run("fit", tiny_config(tissue, tmp_path / "runs", fast_dev_run=True))
    assert done.folder is None
    assert not (tmp_path / "runs").exists()


def test_validate_needs_only_the_checkpoint(finished):
    path = finished.folder / "checkpoints" / "last.ckpt"
    config = {**read_header(path)["config"], "ckpt_path": str(path)}
    done = run("validate", config)
    for key in ("val/miou", "val/loss"):
        assert done.metrics[key] == pytest.approx(finished.metrics[key], abs=1e-6)


def test_flags_override_the_config(tissue, tmp_path):
    done = run("fit", tiny_config(tissue, tmp_path), ["--trainer.max_epochs=1", "--name=other"])
    assert done.folder.name == "other"
    assert done.module.trainer.max_epochs == 1


def broken(config, path, value):
    *parents, last = path.split(".")
    place = config
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("model.segmenter.init_args.head.init_args", {"num_querys": 3}, "num_querys"),
        ("model.segmenter.init_args.backbone.init_args.out_channels", "many", "out_channels"),
        ("model.segmenter.init_args.backbone.class_path", "microtome.nothing.Net", "nothing"),
        ("model.segmenter.init_args.normalisation", "imagenet", "normalisation"),
        ("model.tile", 0, "tile"),
        ("model.optimizer", {"class_path": "torch.optim.AdamW", "init_args": {"rl": 1}}, "rl"),
        ("trainer.max_epoch", 3, "max_epoch"),
        ("data.init_args.manifest", "nowhere.json", "nowhere.json"),
        ("data.init_args.batch_size", 0, "batch_size"),
        ("ckpt_path", "nowhere.ckpt", "no such checkpoint"),
        ("ckpt_path", "https://example.org/x.ckpt", "local files only"),
        ("modle", 3, "modle"),
        ("monitor", "val/dice", "monitor: expected one of"),
        ("model.optimizer", {"class_path": "torch.optim.AdamW", "init_args": {"lr": -1}}, "rate"),
        ("data.init_args.crop", 0, "crop: expected pixels >= 1"),
        ("trainer.max_epochs", -3, "max_epochs"),
        ("trainer.max_epochs", -1, "a run needs an end"),
        ("trainer.devices", "none", "devices"),
        ("seed", -1, "bounds"),
        ("name", 3, "name: Expected a <class 'str'>"),
        ("model.segmenter.init_args.backbone.init_args.in_channels", 1, "3 channels, expected 1"),
        ("model.segmenter.init_args.backbone.init_args.spatial_dims", 3, "2 axes, expected 3"),
    ],
)
def test_mistakes_are_refused_before_anything_starts(tissue, tmp_path, path, value, says):
    config = broken(tiny_config(tissue, tmp_path / "runs"), path, value)
    with pytest.raises(ConfigError, match=says) as refused:
        run("fit", config)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 900
    assert not (tmp_path / "runs").exists()


def test_broken_data_is_refused_with_all_problems(tissue, tmp_path):
    manifest = json.loads(tissue.read_text())
    entries = manifest["data"]["train"]
    for entry in (*entries, *manifest["data"]["val"], *manifest["data"]["test"]):
        for key in ("image_path", "mask_path", "labels_path"):
            entry[key] = str(tissue.parent / entry[key])
    entries[0]["image_path"] = "missing.png"
    entries[1]["mask_path"] = "missing_too.png"
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=r"(?s)missing\.png.*missing_too\.png"):
        run("fit", tiny_config(path, tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_a_damaged_checkpoint_is_refused(finished, tmp_path):
    source = finished.folder / "checkpoints" / "last.ckpt"
    copy = tmp_path / "last.ckpt"
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    (tmp_path / "last.ckpt.sha256").write_text((source.parent / "last.ckpt.sha256").read_text())
    with pytest.raises(CorruptFileError):
        verify_file(copy)
    with pytest.raises(CorruptFileError):
        load_segmenter(copy)
    with pytest.raises(ConfigError, match="damaged"):
        run("validate", {**read_header(source)["config"], "ckpt_path": str(copy)})


@pytest.mark.parametrize("verb", ["fit", "validate"])
def test_a_checkpoint_of_another_model_is_refused(finished, tissue, tmp_path, verb):
    config = tiny_config(tissue, tmp_path / "runs")
    net = config["model"]["segmenter"]["init_args"]["backbone"]["init_args"]
    net["options"]["features"] = [4] * 6
    config["ckpt_path"] = str(finished.folder / "checkpoints" / "last.ckpt")
    with pytest.raises(ConfigError, match=r"of another model .* is .* there and .* here"):
        run(verb, config)
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_no_checkpoint_is_refused(tissue, tmp_path):
    config = {**tiny_config(tissue, tmp_path / "runs"), "ckpt_path": str(tissue)}
    with pytest.raises(ConfigError, match="not a checkpoint, or one that was cut off"):
        run("validate", config)


def test_a_folder_that_cannot_be_made_is_refused(tissue, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        run("fit", tiny_config(tissue, tmp_path / "file"))


def test_a_checkpoint_is_validated_from_any_folder(tissue, tmp_path, monkeypatch):
    monkeypatch.chdir(tissue.parent)
    config = tiny_config(Path(tissue.name), tmp_path / "runs", max_epochs=1)
    path = run("fit", config).folder / "checkpoints" / "last.ckpt"
    monkeypatch.chdir(tmp_path)
    run("validate", {**read_header(path)["config"], "ckpt_path": str(path)})
