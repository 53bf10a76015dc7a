"""What follows from a validation: a lower rate, or the end of the run.

Each validation counts once: a run that is resumed after a step validates after that step again.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from .plateau import Mode, Patience, Plateau

log = logging.getLogger("microtome")


class Watch(Callback):
    """Observes a metric once per optimiser step that was followed by a validation.

    Args:
        monitor: the metric's name.
        mode: which of two values is better.
    """

    def __init__(self, monitor: str, mode: Mode) -> None:
        self.monitor, self.mode = monitor, mode
        self.seen = 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Observe, unless this step's validation is known."""
        if trainer.global_step > self.seen:
            self.seen = trainer.global_step
            self.observe(float(trainer.callback_metrics[self.monitor]), trainer)

    @abstractmethod
    def observe(self, value: float, trainer: Trainer) -> None:
        """Draw the conclusion."""


class LowerOnPlateau(Watch):
    """Tells a `Plateau` schedule of each validation; the rate falls at the very next step.

    Args:
        schedule: the schedule.
        monitor: the metric's name.
        mode: which of two values is better.
    """

    def __init__(self, schedule: Plateau, monitor: str, mode: Mode) -> None:
        super().__init__(monitor, mode)
        self.schedule = schedule

    def observe(self, value: float, trainer: Trainer) -> None:
        """Set the rates anew: those of the next step were computed before the validation."""
        before = self.schedule.scale
        self.schedule.observe(value, self.mode)
        if self.schedule.scale == before:
            return
        log.info(f"{self.monitor} has stopped getting better: rate x {self.schedule.scale:g}")
        rates: Any = trainer.lr_scheduler_configs[0].scheduler
        for group, base, factor in zip(
            rates.optimizer.param_groups, rates.base_lrs, rates.lr_lambdas, strict=True
        ):
            group["lr"] = base * factor(rates.last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """The schedule's state."""
        return {"seen": self.seen, **self.schedule.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.seen = state_dict["seen"]
        self.schedule.load_state_dict(state_dict)


class StopEarly(Watch):
    """Ends a run when a metric has not got better for a number of validations.

    Args:
        after: so many.
        monitor: the metric's name.
        mode: which of two values is better.
    """

    def __init__(self, after: int, monitor: str, mode: Mode) -> None:
        super().__init__(monitor, mode)
        if after < 1:
            raise ValueError(f"stop_after: expected validations >= 1, got {after}")
        self.patience = Patience(after - 1)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that had ended does not go on."""
        if self.patience.over and not trainer.fit_loop.restarting:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Observe, and stop."""
        super().on_validation_end(trainer, pl_module)
        trainer.should_stop |= self.patience.over

    def observe(self, value: float, trainer: Trainer) -> None:
        """Count."""
        self.patience.observe(value, self.mode)
        if self.patience.over:
            best = f"{self.monitor} has been no better than {self.patience.best} for"
            log.info(f"{best} {self.patience.waited} validations: the run ends")

    def state_dict(self) -> dict[str, Any]:
        """What was counted."""
        return {"seen": self.seen, **self.patience.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.seen = state_dict["seen"]
        self.patience.load_state_dict(state_dict)
