"""What the options of optimisation do to a run."""

import pytest
import torch
from lightning.pytorch import Callback
from torch.optim.swa_utils import AveragedModel

from microtome.models import load_segmenter
from microtome.training.pace import total_steps
from microtome.training.parser import ConfigError
from microtome.training.run import run
from microtome.training.steering import better
from small_runs import tiny_config


class Shadow(Callback):
    """Averages beside the run, with torch's own class as the oracle; sees what is validated."""

    def __init__(self, decay):
        self.decay, self.validated = decay, []

    def on_train_start(self, trainer, module):
        def mean(average, now, count):  # count updates were made before this one
            step = count.item()
            d = min(self.decay, (1 + step) / (10 + step))
            return d * average + (1 - d) * now

        self.oracle = AveragedModel(module.model, avg_fn=mean)
        self.oracle.update_parameters(module.model)  # the first only copies

    def on_train_batch_end(self, trainer, module, *_):
        self.oracle.update_parameters(module.model)

    def on_validation_batch_start(self, trainer, module, *_):
        self.validated.append(weights(module.model))


def weights(model):
    return {k: p.detach().clone() for k, p in model.named_parameters()}


def test_the_average_is_validated_and_saved(tissue, tmp_path):
    shadow = Shadow(0.3)
    config = tiny_config(tissue, tmp_path, max_epochs=2) | {"ema_decay": 0.3}
    done = run("fit", config, callbacks=[shadow])
    want = dict(shadow.oracle.module.named_parameters())
    seen = [shadow.validated[-1], weights(done.module.model)]
    seen += [weights(load_segmenter(done.folder / "checkpoints" / "last.ckpt"))]
    for found in seen:
        for name, p in want.items():
            torch.testing.assert_close(found[name], p.detach(), msg=name)
    raw = torch.load(done.folder / "checkpoints" / "last.ckpt", weights_only=True)["raw_weights"]
    assert any(not torch.equal(raw["weights"][f"model.{k}"], p) for k, p in want.items())
    best = {"ckpt_path": str(done.folder / "checkpoints" / "last.ckpt")}
    again = run("validate", config | best)
    assert again.metrics["val/loss"] == done.metrics["val/loss"]


class Gradients(Callback):
    """Norms of the gradients that the optimiser was given."""

    def __init__(self):
        self.norms = []

    def on_train_batch_end(self, trainer, module, *_):
        grads = [p.grad.norm() for p in module.parameters()]
        self.norms.append(float(torch.stack(grads).norm()))


def test_gradients_are_clipped_by_their_norm(tissue, tmp_path):
    seen = Gradients()
    config = tiny_config(tissue, tmp_path, max_epochs=1, gradient_clip_val=0.01)
    run("fit", config, callbacks=[seen])
    assert len(seen.norms) == 3
    assert max(seen.norms) <= 0.0101


def test_bfloat16_keeps_the_weights_in_single_precision(tissue, tmp_path):
    done = run("fit", tiny_config(tissue, tmp_path, max_epochs=1, precision="bf16-mixed"))
    assert {p.dtype for p in done.module.parameters()} == {torch.float32}
    assert done.metrics["train/loss"] > 0


def test_class_weights_come_from_the_training_images(tissue, tmp_path):
    config = tiny_config(tissue, tmp_path, max_epochs=1)
    head = config["model"]["segmenter"]["init_args"]["head"]
    head["init_args"] = {"class_weights": "inverse"}
    done = run("fit", config)
    pixels, _ = done.data.frequencies()
    mass = [
        w * n for w, n in zip(done.module.model.head.class_weights.tolist(), pixels, strict=True)
    ]
    assert mass == pytest.approx([sum(pixels) / len(pixels)] * len(pixels))
    last = {"ckpt_path": str(done.folder / "checkpoints" / "last.ckpt")}
    assert run("validate", config | last).metrics["val/loss"] == done.metrics["val/loss"]


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({"max_epochs": 2}, 6),
        ({"max_epochs": 0}, 0),
        ({"max_epochs": 2, "accumulate_grad_batches": 2}, 4),
        ({"max_epochs": 5, "limit_train_batches": 2}, 10),
        ({"max_epochs": -1, "max_steps": 4}, 4),
        ({"max_epochs": 2, "max_steps": 4}, 4),
        ({"max_epochs": 1, "max_steps": 4}, 3),
    ],
)
def test_a_schedule_is_as_long_as_the_run(tissue, tmp_path, given, steps):
    done = run("fit", tiny_config(tissue, tmp_path, **given, limit_val_batches=0))
    assert done.module.trainer.global_step == steps
    assert total_steps(done.module.trainer, given.get("max_steps", -1)) == steps


def test_losses_fall_and_all_else_rises():
    assert [better(m) for m in ("val/loss", "train/loss")] == ["min", "min"]
    assert [better(m) for m in ("val/miou", "val/iou/loss")] == ["max", "max"]


@pytest.mark.parametrize(
    ("options", "trainer", "says"),
    [
        ({"ema_decay": 1.0}, {}, "ema_decay: expected a number between"),
        ({"stop_after": 0}, {}, "stop_after: expected validations >= 1"),
        ({"val_every_steps": 0}, {}, "val_every_steps: expected optimiser steps >= 1"),
        ({"stop_after": 3, "monitor": "train/loss"}, {}, "watch validations, which have no train"),
        ({}, {"precision": "16-mixed"}, "16-mixed needs a GPU"),
        ({}, {"max_epochs": None}, "a run needs an end"),
        ({}, {"max_steps": -2}, "max_steps"),
        ({}, {"val_check_interval": 5}, "val_check_interval"),
    ],
)
def test_options_that_make_no_sense_are_refused(tissue, tmp_path, options, trainer, says):
    config = tiny_config(tissue, tmp_path / "runs", **trainer) | options
    with pytest.raises(ConfigError, match=says):
        run("fit", config)
    assert not (tmp_path / "runs").exists()
