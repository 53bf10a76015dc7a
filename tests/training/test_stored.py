"""The newest checkpoint that is whole, and what happens when none is."""

import logging
import os
import shutil

import pytest
import torch

from microtome.cli import main
from microtome.training.parser import ConfigError
from microtome.training.run import run
from microtome.training.stored import newest
from small_runs import tiny_config


@pytest.fixture
def checkpoints(finished, tmp_path):
    """A copy of a finished run's checkpoints, `best` looking newer than `last`."""
    folder = tmp_path / "runs" / "tiny" / "checkpoints"
    shutil.copytree(finished.folder / "checkpoints", folder)
    os.utime(folder / "last.ckpt", (1, 1))
    return folder


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path):
    path.write_bytes(b"")


def test_the_newest_is_the_furthest(checkpoints):
    assert newest(checkpoints).name == "last.ckpt"
    assert newest(checkpoints / "none") is None


def test_what_was_being_written_when_the_run_was_killed_is_none(tmp_path):
    (tmp_path / ".part-1-last.ckpt").write_bytes(b"half")
    assert newest(tmp_path) is None


@pytest.mark.parametrize("damage", [flip, cut, empty])
def test_a_damaged_one_is_passed_over_and_named(checkpoints, damage, caplog):
    damage(checkpoints / "last.ckpt")
    with caplog.at_level(logging.INFO, "microtome"):
        assert newest(checkpoints).name == "best.ckpt"
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == 1 and "last.ckpt" in warned[0]
    assert "going on" in caplog.text


def test_when_all_are_damaged_the_run_does_not_begin_again(checkpoints, tissue):
    for name in ("best.ckpt", "last.ckpt"):
        flip(checkpoints / name)
    config = {**tiny_config(tissue, checkpoints.parents[1]), "ckpt_path": "last"}
    with pytest.raises(ConfigError, match=r"(?s)whole.*last\.ckpt.*best\.ckpt"):
        run("fit", config)


def test_a_run_goes_on_from_the_whole_one_in_its_own_folder(checkpoints, tissue):
    flip(checkpoints / "last.ckpt")
    config = tiny_config(tissue, checkpoints.parents[1], max_epochs=3)
    done = run("fit", {**config, "ckpt_path": "last"})
    assert done.folder == checkpoints.parent
    assert done.module.trainer.global_step == 9


def test_without_a_checkpoint_the_run_begins_in_its_folder(tissue, tmp_path, caplog):
    config = {**tiny_config(tissue, tmp_path, max_epochs=1), "ckpt_path": "last"}
    (tmp_path / "tiny" / "checkpoints").mkdir(parents=True)
    with caplog.at_level(logging.INFO, "microtome"):
        assert run("fit", config).folder == tmp_path / "tiny"
    assert "from the beginning" in caplog.text


def test_validate_takes_the_newest_too(checkpoints, tissue):
    config = {**tiny_config(tissue, checkpoints.parents[1]), "ckpt_path": "last"}
    assert run("validate", config).metrics["val/miou"] >= 0
    shutil.rmtree(checkpoints)
    with pytest.raises(ConfigError, match="validate needs --ckpt_path FILE"):
        run("validate", config)


@pytest.mark.parametrize("text", [b"", b"not a checkpoint", b"PK\x03\x04 nor this"])
@pytest.mark.parametrize("verb", ["validate", "predict"])
def test_other_files_are_told_in_one_line(tmp_path, text, verb, capsys):
    path = tmp_path / "notes.ckpt"
    path.write_bytes(text)
    more = ["--input", str(tmp_path), "--output", "o"] if verb == "predict" else []
    assert main([verb, "--ckpt_path", str(path), *more]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "notes.ckpt: not a" in told and "mmap" not in told


def test_a_checkpoint_of_something_else_is_told(tmp_path, capsys):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    assert main(["validate", "--ckpt_path", str(tmp_path / "other.ckpt")]) == 2
    assert "not a microtome checkpoint" in capsys.readouterr().err
