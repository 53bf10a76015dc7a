"""The last checkpoint is whole whatever ends the process or fills the disk."""

import errno
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from microtome.files import PART, verify_file
from microtome.training.advice import RunError
from microtome.training.checkpoint import WholeFiles
from microtome.training.run import run
from small_runs import tiny_config

KILLS = 50
SIZE = 2_000_000  # numbers in a checkpoint: 8 MB


def save_for_ever(path, first, saved):
    """Save checkpoints, each with its number in every place, and tell of each that is done."""
    torch.set_num_threads(1)
    for number in range(first, first + 10_000):
        WholeFiles().save_checkpoint({"state_dict": torch.full((SIZE,), float(number))}, path)
        saved.send(number)


def other_file_system(folder):
    """A folder for temporary files on another file system than `folder`."""
    for place in (Path("/dev/shm"), Path("/run")):
        there = place.is_dir() and os.access(place, os.W_OK)
        if there and place.stat().st_dev != folder.stat().st_dev:
            return str(place)
    pytest.skip("there is no second file system that can be written")


@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [False, True], ids=["one file system", "TMPDIR on another"])
def test_the_last_checkpoint_survives_kills_while_it_is_written(tmp_path, monkeypatch, elsewhere):
    if elsewhere:
        monkeypatch.setenv("TMPDIR", other_file_system(tmp_path))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["microtome.training.checkpoint"])
    path, number, chance, while_saving = tmp_path / "last.ckpt", 0, random.Random(0), 0
    for _ in range(KILLS):
        told, saved = context.Pipe(duplex=False)
        process = context.Process(target=save_for_ever, args=(path, number + 1, saved))
        process.start()
        saved.close()
        number = told.recv()  # one is done; the next is on its way
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        process.join()
        while told.poll():
            try:
                number = told.recv()
            except EOFError:
                break
        told.close()
        while_saving += any(tmp_path.glob(f"{PART}*"))
        verify_file(path)
        content = torch.load(path, weights_only=True)["state_dict"]
        assert content.unique().tolist() in ([number], [number + 1])  # none lost, none mixed
        number = int(content[0])
    assert while_saving > KILLS / 2, "most kills missed the moment: change the pause above"
    WholeFiles().save_checkpoint({}, path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.ckpt", "last.ckpt.sha256"]


@contextmanager
def small_disk(folder, size):
    """A file system of a few MB."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted by root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def small_files(folder, size):
    """A limit on the size of files, which any user can set: writing fails in the same place."""
    folder.mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [small_disk, small_files])
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, limit):
    with limit(tmp_path / "disk", 8_000_000) as folder:
        path = folder / "last.ckpt"
        WholeFiles().save_checkpoint({"state_dict": torch.zeros(1_000_000)}, path)
        for size in (3_000_000, 2_000_000, 2_500_000):
            with pytest.raises(OSError, match=r"last\.ckpt") as refused:
                WholeFiles().save_checkpoint({"state_dict": torch.ones(size)}, path)
            assert refused.value.errno in (errno.ENOSPC, errno.EFBIG)
        verify_file(path)
        assert not torch.load(path, weights_only=True)["state_dict"].any()
        assert sorted(p.name for p in folder.iterdir()) == ["last.ckpt", "last.ckpt.sha256"]


@pytest.mark.slow
def test_a_run_on_a_full_disk_ends_with_advice(tissue, tmp_path):
    with small_disk(tmp_path / "disk", 8_000_000) as folder:
        config = tiny_config(tissue, folder)
        done = run("fit", config)
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
            while True:
                file.write(bytes(4096))
        os.truncate(filler, filler.stat().st_size - 150_000)  # less than a checkpoint
        with pytest.raises(RunError, match=r"no space left to write .*--resume last"):
            run("fit", tiny_config(tissue, folder, max_epochs=9) | {"ckpt_path": "last"})
        filler.unlink()
        verify_file(done.folder / "checkpoints" / "last.ckpt")
        longer = tiny_config(tissue, folder, max_epochs=3) | {"ckpt_path": "last"}
        assert run("fit", longer).metrics["val/miou"] >= 0
        assert not list(Path(folder).rglob(f"{PART}*"))
