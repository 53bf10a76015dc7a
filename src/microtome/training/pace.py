"""When a run validates and when it ends, in optimiser steps; and where a checkpoint stands.

Lightning counts validations in batches, forgets the last one when it falls between two intervals,
and repeats an epoch when a run of `max_steps` goes on from the checkpoint at an epoch's end. So it
is told after every batch whether to validate, and when to stop.
"""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

NEVER = 2**62  # batches
STARTED = {"ready": 1, "started": 1, "processed": 0, "completed": 0}  # none is done yet


class Pace(Callback):
    """Decides after every batch; the end of a run is always validated.

    A checkpoint stands right after its last batch: a run that goes on from it does again what
    follows that batch, be it a validation or the end of an epoch.

    Args:
        max_steps: optimiser steps of the run; -1 for no limit.
        every_steps: optimiser steps between two validations.
        every_epochs: epochs between two validations, where `every_steps` is not given.
    """

    def __init__(
        self, max_steps: int = -1, every_steps: int | None = None, every_epochs: int | None = 1
    ) -> None:
        if every_steps is not None and every_steps < 1:
            raise ValueError(f"val_every_steps: expected optimiser steps >= 1, got {every_steps}")
        self.max_steps, self.every_steps, self.every_epochs = max_steps, every_steps, every_epochs

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that has ended does not go on, unless its last validation is missing."""
        pending = trainer.fit_loop.restarting and trainer.enable_validation
        trainer.val_check_batch = 1 if pending and self._is_due(trainer) else NEVER
        trainer.should_stop |= self._is_out_of_steps(trainer) and not pending

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell Lightning whether to validate now, and whether to stop."""
        trainer.val_check_batch = 1 if self._is_due(trainer) else NEVER
        trainer.should_stop |= self._is_out_of_steps(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop also where only the last validation had been missing."""
        trainer.should_stop |= self._is_out_of_steps(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Have the validation or the epoch's end that follows the last batch done on resuming.

        Lightning by itself goes on with the next batch, and a validation that was interrupted goes
        on with images whose predecessors nobody remembers.
        """
        loops = checkpoint["loops"]["fit_loop"]
        done = loops["epoch_loop.batch_progress"]
        open_ = done["current"]["processed"] > done["current"]["completed"]
        if not (open_ or trainer.validating):
            return
        due = self._is_due(trainer)
        if open_ and (due or done["is_last_batch"]):
            for counts in (done["current"], done["total"]):
                counts["completed"] = counts["processed"]
        if due:
            validated = loops["epoch_loop.val_loop.batch_progress"]
            validated["current"] = validated["total"] = dict(STARTED)

    def _is_due(self, trainer: Trainer) -> bool:
        last, epoch = trainer.is_last_batch, trainer.current_epoch + 1
        if self._is_out_of_steps(trainer) or (last and epoch == trainer.max_epochs):
            return True
        if self.every_steps is not None:
            return stepped(trainer) and trainer.global_step % self.every_steps == 0
        return last and self.every_epochs is not None and epoch % self.every_epochs == 0

    def _is_out_of_steps(self, trainer: Trainer) -> bool:
        return 0 <= self.max_steps <= trainer.global_step


def stepped(trainer: Trainer) -> bool:
    """Whether the last batch was followed by an optimiser step: no gradients wait for others."""
    done: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    last: bool = trainer.is_last_batch
    return last or done.processed % trainer.accumulate_grad_batches == 0


def total_steps(trainer: Trainer, max_steps: int = -1) -> int:
    """Return how many optimiser steps a run will take.

    Lightning's own estimate would set the loaders up before a checkpoint's position in them is
    restored, and a resumed run would begin its epoch again.

    Raises ValueError when neither epochs nor steps are limited.
    """
    epochs = -1 if trainer.max_epochs is None else trainer.max_epochs
    if epochs < 0 and max_steps < 0:
        raise ValueError(
            "a learning-rate schedule needs an end: set trainer.max_epochs or max_steps"
        )
    batches = len(trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    by_epochs = epochs * math.ceil(batches / trainer.accumulate_grad_batches)
    return min(n for n in (by_epochs, max_steps) if n >= 0)
