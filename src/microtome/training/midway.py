"""What a checkpoint in the middle of an epoch holds beyond weights, counters and optimiser."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from .module import TrainingModule
from .pace import stepped

KEY = "midway"


class Midway(Callback):
    """Saves the means so far, and the gradients of an accumulation that is not complete."""

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}  # of a checkpoint, until training starts

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add both; gradients are averaged over processes, which have not met yet."""
        assert isinstance(pl_module, TrainingModule)
        gradients = {}
        if not stepped(trainer):
            for name, p in pl_module.named_parameters():
                if p.grad is not None:
                    mean = trainer.strategy.reduce(p.grad.clone(), reduce_op="mean")
                    gradients[name] = mean
        checkpoint[KEY] = {"gradients": gradients, "means": pl_module.means.state_dict()}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the means back, and note the gradients."""
        assert isinstance(pl_module, TrainingModule)
        pl_module.means.load_state_dict(checkpoint[KEY]["means"])
        self.gradients = checkpoint[KEY]["gradients"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the gradients back; any earlier Lightning would clear them."""
        for name, p in pl_module.named_parameters():
            if name in self.gradients:
                p.grad = self.gradients[name].to(p.device)
        self.gradients = {}
