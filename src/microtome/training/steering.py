"""What a config says on the length of a run, its validations and what follows from them."""

from __future__ import annotations

from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch import Callback

from .averaging import Averaging
from .midway import Midway
from .pace import Pace
from .plateau import Mode, Plateau
from .watching import LowerOnPlateau, StopEarly


def better(monitor: str) -> Mode:
    """Which of two values of a metric is better."""
    return "min" if monitor in ("train/loss", "val/loss") else "max"


def steering(config: Namespace, options: dict[str, Any]) -> list[Callback]:
    """Return the callbacks that steer; take from the Trainer's `options` what they decide.

    Raises ValueError when the run has no end, for numbers out of range, and for fp16 on a CPU.
    """
    max_steps, max_epochs = options["max_steps"], options["max_epochs"]
    if max_steps < -1:
        raise ValueError(f"max_steps: expected optimiser steps, or -1 for no limit: {max_steps}")
    if max_epochs is None or (max_epochs == -1 and max_steps == -1):
        if max_steps == -1:
            raise ValueError("a run needs an end: set trainer.max_epochs or trainer.max_steps")
        options["max_epochs"] = -1
    every_epochs = options["check_val_every_n_epoch"]
    options |= {"max_steps": -1, "check_val_every_n_epoch": None, "val_check_interval": 1}
    _check_precision(options)
    config.model.max_steps = max_steps
    callbacks: list[Callback] = [Pace(max_steps, config.val_every_steps, every_epochs)]
    if config.ema_decay is not None:
        callbacks.append(Averaging(config.ema_decay))
    callbacks.append(Midway())
    return [*callbacks, *_watching(config)]


def _watching(config: Namespace) -> list[Callback]:
    monitor, schedule = config.monitor, config.model.schedule
    watching: list[Callback] = []
    if isinstance(schedule, Plateau):
        watching.append(LowerOnPlateau(schedule, monitor, better(monitor)))
    if config.stop_after is not None:
        watching.append(StopEarly(config.stop_after, monitor, better(monitor)))
    if watching and not monitor.startswith("val/"):
        raise ValueError(
            f"monitor: a plateau and `stop_after` watch validations, which have no {monitor}"
        )
    return watching


def _check_precision(options: dict[str, Any]) -> None:
    """Refuse what Lightning would replace by bfloat16."""
    on_cpu = options["accelerator"] == "cpu" or not torch.accelerator.is_available()
    if on_cpu and str(options["precision"]) in ("16", "16-mixed"):
        raise ValueError("precision 16-mixed needs a GPU: a CPU has bfloat16 (trainer=amp)")
