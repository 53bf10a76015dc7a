"""What a config says of optimiser, schedule and checkpoints is what a run does."""

from pathlib import Path

import pytest
from lightning.pytorch import Callback

from microtome.training.run import run
from small_runs import tiny_config


class Seen(Callback):
    """The rate of each step, and whether the best checkpoint was there after each epoch."""

    def __init__(self):
        self.rates, self.kept, self.groups = [], [], []

    def on_train_batch_start(self, trainer, *_):
        self.groups = [dict(group) for group in trainer.optimizers[0].param_groups]
        self.rates.append(self.groups[0]["lr"])

    def on_train_epoch_start(self, trainer, *_):
        folder = Path(trainer.default_root_dir)
        self.kept.append({p.name for p in folder.glob("checkpoints/*.ckpt")})


def test_momentum_decay_warm_up_and_the_end_of_the_cosine(tissue, tmp_path):
    config = tiny_config(tissue, tmp_path, max_epochs=3)
    settings = {"lr": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.003}
    config["model"]["optimizer"] = {"class_path": "torch.optim.SGD", "init_args": settings}
    config["model"]["scheduler"] = {
        "class_path": "microtome.training.schedules.Cosine",
        "init_args": {"warmup": 2},
    }
    seen = Seen()
    run("fit", config, callbacks=[seen])
    for group in seen.groups:
        assert (group["momentum"], group["nesterov"]) == (0.8, True)
    assert {group["weight_decay"] for group in seen.groups} == {0.0, 0.003}
    thirds = [0.02 / 3, 0.04 / 3, 0.02]  # two steps of warm-up, the first of them above 0
    assert seen.rates[:3] == pytest.approx(thirds)
    assert len(seen.rates) == 9
    assert seen.rates == sorted(seen.rates[:3]) + sorted(seen.rates[3:], reverse=True)
    assert seen.rates[-1] < 0.06 * 0.02  # and no rise before the run ends
    assert seen.kept == [set(), *[{"best.ckpt", "last.ckpt"}] * 2]  # not only at the end
