"""Loggers by one line of YAML; a run says what it has to say and nothing for others."""

import subprocess
import sys

import pytest
import yaml

from microtome.training import loggers
from microtome.training.parser import ConfigError
from microtome.training.run import run
from small_runs import tiny_config


def test_no_logger_leaves_the_table(tissue, tmp_path):
    done = run("fit", {**tiny_config(tissue, tmp_path, max_epochs=1), "logger": "none"})
    assert (done.folder / "metrics.csv").exists()
    assert not (done.folder / "tensorboard").exists()


def test_unknown_and_missing_loggers_are_refused(tissue, tmp_path, monkeypatch):
    config = tiny_config(tissue, tmp_path / "runs")
    with pytest.raises(ConfigError, match="logger"):
        run("fit", {**config, "logger": "notebook"})
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'microtome\[wandb\]'"):
        run("fit", {**config, "logger": "wandb"})
    assert not (tmp_path / "runs").exists()


def fit(config, path):
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "microtome", "fit", "--config", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_weights_and_biases_offline(tissue, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for key, value in (("MODE", "offline"), ("DIR", ""), ("API_KEY", "")):
        monkeypatch.setenv(f"WANDB_{key}", value)
    config = {**tiny_config(tissue, tmp_path / "runs", max_epochs=1), "logger": "wandb"}
    done = fit(config, tmp_path / "config.yaml")
    assert done.returncode == 0, done.stderr
    assert "wandb" not in done.stdout + done.stderr
    folder = tmp_path / "runs" / "tiny" / "wandb"
    (first,) = folder.glob("offline-run-*")
    (log,) = first.glob("*.wandb")
    assert b"val/miou" in log.read_bytes() and b"microtome.backbones.unet" in log.read_bytes()
    config["trainer"]["max_epochs"] = 2
    assert fit({**config, "ckpt_path": "last"}, tmp_path / "config.yaml").returncode == 0
    ids = {path.name.rpartition("-")[2] for path in folder.glob("offline-run-*")}
    assert len(list(folder.glob("offline-run-*"))) == 2 and len(ids) == 1


def test_a_run_speaks_only_for_itself(tissue, tmp_path):
    done = fit(tiny_config(tissue, tmp_path / "runs"), tmp_path / "config.yaml")
    assert done.returncode == 0 and done.stderr == ""
    beginnings = [line.split()[0] for line in done.stdout.splitlines()]
    assert beginnings[:4] == ["run", "data", "model", "device"]
    assert beginnings[-3:] == ["epoch", "epoch", "done"]
    assert set(beginnings[4:-3]) <= {"optimiser", "backbone", "neck", "head"}
