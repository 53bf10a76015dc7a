"""SIGTERM and SIGUSR1 end a run with a checkpoint from which it goes on bit by bit.

Schedulers send them before they take a machine away. A handler only notes the signal; the run stops
at the next place from which it can go on exactly: after an optimiser step, or within a validation,
which then begins again. Lightning's own SLURM handler saves inside the handler, in the middle of a
step; it is not installed where another one stands.
"""

from __future__ import annotations

import copy
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

ASKING = ("SIGTERM", "SIGUSR1")
EXIT_CODE = 75  # sysexits' EX_TEMPFAIL: not done, and worth another try
LOOPS, VALIDATED = "fit_loop", "epoch_loop.val_loop.batch_progress"


class StoppedError(Exception):
    """A signal ended the run.

    Attributes:
        path: the checkpoint to go on from.
    """

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(f"stopped by {name}; go on with --resume {path}")
        self.path = path


class StopOnSignal(Checkpoint):
    """Saves `path` and raises StoppedError after a signal, on all ranks at the same step.

    With several processes a signal that comes during a validation takes effect after it.

    Args:
        path: the checkpoint to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.noted = ""
        self._step = 0
        self._loops: dict[str, Any] | None = None  # Lightning's place in the run, to be saved
        self._due = False
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over, from Lightning too."""
        self._step = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in ASKING if hasattr(signal, name)):
                self._before[number] = signal.signal(number, self._note)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Stop where the step before was followed by no validation."""
        if self._due:
            self._stop(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Remember the place after an optimiser step; gradients that still gather are not saved."""
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if stepped and trainer.strategy.reduce_boolean_decision(bool(self.noted), all=False):
            self._loops, self._due = trainer.fit_loop.state_dict(), True

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Remember the place from which this validation begins again."""
        if batch_idx == 0 and not trainer.sanity_checking:
            self._loops = _validation_ahead(trainer.fit_loop.state_dict())

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any
    ) -> None:
        """Stop within a validation, which may be long."""
        if self.noted and trainer.world_size == 1 and not trainer.sanity_checking:
            self._stop(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the place before it; the step after it, or the epoch's end, is the next one."""
        self._loops, self._due = None, False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop between epochs; the end of the last epoch is the end of the run anyway."""
        self._loops, self._due = None, False
        asked = trainer.strategy.reduce_boolean_decision(bool(self.noted), all=False)
        if asked and not trainer.fit_loop.done:
            self._stop(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write the remembered place where this saves, and the true one for all others."""
        if self._due and self._loops is not None:
            checkpoint["loops"][LOOPS] = self._loops

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back, before Lightning does the same."""
        self._give_back()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back."""
        self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.noted = signal.Signals(number).name

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _stop(self, trainer: Trainer) -> None:
        self._due = True
        trainer.save_checkpoint(self.path)
        raise StoppedError(self.noted or "a signal to another process", self.path)


def _validation_ahead(loops: dict[str, Any]) -> dict[str, Any]:
    """The state at a validation's first batch, spelt as Lightning spells "within a validation"."""
    ahead = copy.deepcopy(loops)
    for progress in (ahead[VALIDATED]["total"], ahead[VALIDATED]["current"]):
        progress["started"] = progress["ready"]
        progress["processed"] = progress["completed"] = progress["ready"] - 1
    return ahead
