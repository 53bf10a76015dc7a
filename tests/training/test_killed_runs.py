"""A run that is killed at random moments, and started again each time, equals its twin."""

import csv
import multiprocessing
import random
import time

import pytest
import torch
import yaml
from lightning.pytorch import Callback

from microtome.cli.compose import PACKAGED
from microtome.training.run import run
from small_runs import tiny_config

KILLS = 8
PLATEAU = {
    "class_path": "microtome.training.plateau.Plateau",
    "init_args": {"warmup": 2, "patience": 0, "gamma": 0.5, "min_change": 0.03},
}
LIGHT = yaml.safe_load((PACKAGED / "transforms" / "light.yaml").read_text())["transforms"]
TRAINER = {
    "by epochs": {"max_epochs": 4},
    "by steps": {"max_epochs": -1, "max_steps": 8},
}


class Tell(Callback):
    """Tells what has just been done, so that the process can be killed there."""

    def __init__(self, told):
        self.told = told

    def tell(self, *_):
        self.told.send(1)

    on_train_batch_start = on_train_batch_end = on_train_epoch_end = tell
    on_validation_batch_end = on_validation_end = tell


def fit(config, told):
    torch.set_num_threads(1)
    run("fit", config, callbacks=[Tell(told)])


def config_of(tissue, folder, ends, workers):
    config = tiny_config(tissue, folder, accumulate_grad_batches=2, **TRAINER[ends])
    config["data"]["init_args"] |= {"workers": workers, "transforms": LIGHT}
    config["data"]["init_args"]["crops_per_image"] = 2  # six batches, three windows
    config["model"]["scheduler"] = PLATEAU
    return config | {"ema_decay": 0.9, "val_every_steps": 2, "ckpt_path": "last"}


def left(folder):
    """What a finished run leaves, without times, paths and the process's own counters."""
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    watched = {k: v for k, v in content["callbacks"].items() if "LowerOnPlateau" in k}
    with (folder / "metrics.csv").open() as f:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(f)]
    names = ("state_dict", "raw_weights", "optimizer_states", "lr_schedulers", "global_step")
    return {name: content[name] for name in names} | {"watched": watched, "rows": rows}


def differences(a, b, place=""):
    """Where two nested values are not bit for bit the same."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [d for k in a for d in differences(a[k], b[k], f"{place}/{k}")]
    if isinstance(a, list | tuple) and len(a) == len(b):
        return [
            d
            for i, (x, y) in enumerate(zip(a, b, strict=True))
            for d in differences(x, y, f"{place}/{i}")
        ]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else [place]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ends", TRAINER)
def test_a_killed_run_equals_its_twin(tissue, tmp_path, ends, workers):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["microtome.training.run"])
    twin = run("fit", config_of(tissue, tmp_path / "twin", ends, 0)).folder
    config = config_of(tissue, tmp_path / "killed", ends, workers)
    chance, kills, code = random.Random(f"{ends} {workers}"), 0, None
    while code != 0:
        told, tell = context.Pipe(duplex=False)
        process = context.Process(target=fit, args=(config, tell))
        process.start()
        tell.close()
        try:
            for _ in range(chance.randrange(4, 14) if kills < KILLS else 10_000):
                told.recv()
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
        except EOFError:  # it has ended by itself
            pass
        process.join()
        told.close()
        code = process.exitcode
        kills += code == -9
        assert code in (0, -9)
    print(f"{kills} kills, {ends}, {workers} workers")
    assert kills >= KILLS // 2
    assert differences(left(tmp_path / "killed" / "tiny"), left(twin)) == []
