"""An exponential moving average of the weights, validated and saved in their place."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

KEY = "raw_weights"


class Averaging(Callback):
    """Keeps mean ← d·mean + (1 - d)·weights after every optimiser step.

    At step n, d is min(decay, (1 + n) / (10 + n)): the growing d lets short runs forget their first
    weights too. Only trainable parameters are averaged; buffers, such as BatchNorm's statistics,
    stay those of the training weights, as in `torch.optim.swa_utils.AveragedModel`. Checkpoints
    hold the average as the model's weights, and the raw ones beside them to go on from.

    Args:
        decay: d, below 1; the average looks back on about 1 / (1 - d) steps.
    """

    def __init__(self, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"ema_decay: expected a number between 0 and 1, got {decay}")
        self.decay, self.steps = decay, 0
        self.kept: dict[str, Tensor] = {}  # the average; while it is in the model, the raw weights
        self.swapped = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin at the weights as they are, unless a checkpoint was loaded."""
        weights = _trainable(pl_module)
        if not self.kept:
            self.kept = {name: p.detach().clone() for name, p in weights.items()}
        self.kept = {name: t.to(weights[name].device) for name, t in self.kept.items()}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Average, if the batch ended in an optimiser step."""
        self._catch_up(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate the average."""
        self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train on the raw weights."""
        self._swap(pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the model."""
        if not self.swapped:
            self._swap(pl_module)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average as the model's weights, and the raw weights."""
        self._catch_up(trainer, pl_module)
        weights = {name: p.detach() for name, p in _trainable(pl_module).items()}
        average, raw = (weights, self.kept) if self.swapped else (self.kept, weights)
        checkpoint["state_dict"] |= average
        checkpoint[KEY] = {"steps": self.steps, "weights": raw}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put both back; from a run that did not average, begin at its weights."""
        if KEY in checkpoint:
            self.steps = checkpoint[KEY]["steps"]
            self.kept = {k: t.clone() for k, t in checkpoint[KEY]["weights"].items()}
            self._swap(pl_module)  # the model has just loaded the average
            self.swapped = False

    def _catch_up(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step <= self.steps:
            return
        self.steps = trainer.global_step
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        weights = _trainable(pl_module)
        torch._foreach_lerp_(
            [self.kept[name] for name in weights], [p.detach() for p in weights.values()], 1 - decay
        )

    @torch.no_grad()
    def _swap(self, pl_module: LightningModule) -> None:
        for name, p in _trainable(pl_module).items():
            other = self.kept[name].to(p.device)
            self.kept[name] = p.detach().clone()
            p.copy_(other)
        self.swapped = not self.swapped


def _trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}
