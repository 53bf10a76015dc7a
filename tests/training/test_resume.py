"""A run that goes on from a checkpoint, wherever that stands, is the run that never stopped."""

import copy
import csv

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint

from microtome.cli import main
from microtome.training.run import run
from small_runs import tiny_config

PLATEAU = {
    "class_path": "microtome.training.plateau.Plateau",
    "init_args": {"warmup": 2, "patience": 0, "gamma": 0.5, "min_change": 0.03},
}


class Trace(Callback):
    """What happened: batches with their images and loss, validations, ends of epochs."""

    def __init__(self):
        self.rows = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        names = tuple(sample.meta["name"] for sample in batch)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        loss = float(outputs["loss"])
        self.rows.append(("batch", trainer.global_step, batch_idx, names, rate, loss))

    def on_validation_end(self, trainer, module):
        loss = float(trainer.callback_metrics["val/loss"])
        self.rows.append(("validation", trainer.global_step, loss))

    def on_train_epoch_end(self, trainer, module):
        loss = float(module.train_figures()["train/loss"])
        self.rows.append(("epoch", trainer.global_step, loss))


class SaveAlways(Checkpoint):
    """Saves after every batch, validation and epoch, and notes what was to come then."""

    def __init__(self, trace):
        self.trace, self.saved = trace, {}

    def save(self, trainer, what, done):
        folder = trainer.default_root_dir
        path = f"{folder}/all/{len(self.saved):02d}_{what}.ckpt"
        trainer.save_checkpoint(path)
        self.saved[path] = done

    def on_train_batch_end(self, trainer, *_):
        self.save(trainer, "batch", len(self.trace.rows))

    def on_validation_end(self, trainer, *_):
        self.save(trainer, "validation", len(self.trace.rows) - 1)  # it is done again

    def on_train_epoch_end(self, trainer, *_):
        self.save(trainer, "epoch", len(self.trace.rows))


def state(done):
    """Everything that shapes what would come next."""
    trainer = done.module.trainer
    averages = [c.kept for c in trainer.callbacks if hasattr(c, "kept")]
    schedules = [c.scheduler.state_dict() for c in trainer.lr_scheduler_configs]
    watched = [c.state_dict() for c in trainer.callbacks if hasattr(c, "seen")]
    optimizer = trainer.optimizers[0].state_dict()
    return [done.module.model.state_dict(), optimizer, averages, schedules, watched]


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def table(done):
    """The run's table without its times."""
    with (done.folder / "metrics.csv").open() as f:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "lr")}
            for row in csv.DictReader(f)
        ]


MIX = {"class_path": "microtome.data.mixing.CutMix", "init_args": {"prob": 0.7}}
CASES = {
    "all at once": (
        {"ema_decay": 0.9, "val_every_steps": 2, "stop_after": 9}
        | {"scheduler": PLATEAU, "mix": MIX},
        {"max_epochs": 3, "accumulate_grad_batches": 2},
    ),
    "steps": ({}, {"max_epochs": -1, "max_steps": 5}),
    "steps in windows": (
        {"ema_decay": 0.9, "val_every_steps": 2},
        {"max_epochs": -1, "max_steps": 5, "accumulate_grad_batches": 2},
    ),
    "epochs": ({}, {"max_epochs": 2}),
    "every second epoch": ({}, {"max_epochs": 3, "check_val_every_n_epoch": 2}),
    "stopped": (
        {"stop_after": 1, "scheduler": PLATEAU, "monitor": "val/mean_accuracy"},
        {"max_epochs": 9},
    ),
}


def config_of(case, tissue, folder, workers=0):
    options, trainer = copy.deepcopy(CASES[case])
    config = tiny_config(tissue, folder, **trainer)
    config["data"]["init_args"]["workers"] = workers
    for key in options.keys() & {"scheduler", "mix"}:
        config["model"][key] = options.pop(key)
    return config | options


def uninterrupted(case, tissue, folder):
    trace = Trace()
    saver = SaveAlways(trace)
    config = config_of(case, tissue, folder)
    return run("fit", config, callbacks=[trace, saver]), trace.rows, saver.saved


def check(case, tissue, folder, whole, paths, workers=0):
    done, rows, saved = whole
    for path in paths:
        trace = Trace()
        config = config_of(case, tissue, folder, workers) | {"ckpt_path": path, "name": "again"}
        again = run("fit", config, callbacks=[trace])
        assert trace.rows == rows[saved[path] :], path
        assert same(state(again), state(done)), path
        if trace.rows:
            assert table(again) == table(done), path


def test_it_goes_on_exactly_with_all_that_has_a_state(tissue, tmp_path):
    """In a window of accumulation, before and after a validation, at an epoch's end."""
    whole = uninterrupted("all at once", tissue, tmp_path)
    kinds = [row[0] + str(row[1]) for row in whole[1]]
    assert kinds == [
        *("batch0", "batch1", "batch2", "validation2", "epoch2"),  # 3 batches are 2 steps
        *("batch2", "batch3", "batch4", "validation4", "epoch4"),
        *("batch4", "batch5", "batch6", "validation6", "epoch6"),
    ]
    paths = list(whole[2])
    assert paths[5].endswith("05_batch.ckpt") and paths[8].endswith("08_validation.ckpt")
    check("all at once", tissue, tmp_path, whole, [paths[5], paths[8]])
    check("all at once", tissue, tmp_path, whole, [paths[7]], workers=2)


def test_a_run_of_steps_goes_on_from_the_end_of_an_epoch(tissue, tmp_path):
    whole = uninterrupted("steps", tissue, tmp_path)
    kinds = [row[0] + str(row[1]) for row in whole[1]]
    first = ["batch1", "batch2", "batch3", "validation3", "epoch3"]
    assert kinds == [*first, "batch4", "batch5", "validation5", "epoch5"]
    paths = list(whole[2])
    assert paths[4].endswith("epoch.ckpt")
    check("steps", tissue, tmp_path, whole, [paths[4]])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("case", CASES)
def test_it_goes_on_exactly_from_everywhere(case, workers, tissue, tmp_path):
    whole = uninterrupted(case, tissue, tmp_path)
    check(case, tissue, tmp_path, whole, list(whole[2]), workers)


def test_the_last_epoch_is_validated_whatever_the_interval(tissue, tmp_path):
    trace = Trace()
    run(
        "fit",
        tiny_config(tissue, tmp_path, max_epochs=3, check_val_every_n_epoch=2),
        callbacks=[trace],
    )
    assert [row[1] for row in trace.rows if row[0] == "validation"] == [6, 9]


def test_patience_ends_a_run_for_good(tissue, tmp_path):
    config = config_of("stopped", tissue, tmp_path)
    config["monitor"], config["stop_after"] = "val/iou/background", 2
    config["model"]["optimizer"] = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.0}}
    trace = Trace()
    done = run("fit", config, callbacks=[trace])
    assert [row[1] for row in trace.rows if row[0] == "validation"] == [3, 6, 9]
    assert "no better" in (done.folder / "training.log").read_text()
    last = str(done.folder / "checkpoints" / "last.ckpt")
    again = run("fit", config | {"ckpt_path": last})
    assert again.module.trainer.global_step == 9


def test_no_epochs_are_no_steps(tissue, tmp_path):
    done = run("fit", tiny_config(tissue, tmp_path, max_epochs=0))
    assert done.module.trainer.global_step == 0


def test_a_runs_folder_is_enough_to_go_on(tissue, tmp_path, capsys):
    """Its config, its newest checkpoint, its name; what is not a run is told."""
    first = run("fit", tiny_config(tissue, tmp_path, max_epochs=1))
    (tmp_path / "tiny").rename(tmp_path / "moved")
    words = ["fit", "--resume", str(tmp_path / "moved")]
    assert main([*words, "trainer.max_epochs=2"]) == 0
    state = torch.load(tmp_path / "moved/checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] == 2 * first.module.trainer.global_step
    assert [f.name for f in tmp_path.iterdir()] == ["moved"]
    for file in (tmp_path / "moved" / "checkpoints").iterdir():
        file.unlink()
    assert main(words) == 2 and "no checkpoint (*.ckpt) in it" in capsys.readouterr().err
    assert main(["fit", "--resume", str(tmp_path)]) == 2
    assert "fit needs --config" in capsys.readouterr().err
