"""The record of a run: a table with a row per epoch, its curves, and a log in words."""

from __future__ import annotations

import csv
import logging
import math
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ..evaluation import curves
from ..files import whole
from .module import TrainingModule

log = logging.getLogger("microtome")

Row = dict[str, float]


class History(Callback):
    """Writes `metrics.csv` and `training_history.png` after every epoch, and a line to the log.

    The rows are part of the checkpoint, so a resumed run keeps its curves.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[Row] = []
        self._started = self._rate = self._spent = 0.0
        self._validated = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with the clock of an epoch that a checkpoint stopped."""
        self._started = time.perf_counter() - self._spent

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started, self._validated = time.perf_counter(), False

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the learning rate while it is in use: at the epoch's end the next one is set."""
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that this epoch's row has validation figures."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a row; write the table and the picture."""
        row: Row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "lr": self._rate,
            "seconds": time.perf_counter() - self._started,
        }
        row |= {k: float(v) for k, v in self._figures(trainer, pl_module).items()}
        self.rows.append(row)
        log.info(in_words(row, trainer.max_epochs))
        if trainer.is_global_zero:
            write_table(self.rows, self.folder / "metrics.csv")
            curves(self.rows, self.folder / "training_history.png")

    def _figures(self, trainer: Trainer, module: LightningModule) -> dict[str, Any]:
        assert isinstance(module, TrainingModule)
        known = trainer.callback_metrics.items() if self._validated else ()
        return module.train_figures() | {k: v for k, v in known if k.startswith("val/")}

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, and where this epoch stands."""
        spent = time.perf_counter() - self._started if self._started else 0.0
        return {"rows": self.rows, "rate": self._rate, "spent": spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's rows."""
        self.rows = list(state_dict["rows"])
        self._rate, self._spent = state_dict.get("rate", 0.0), state_dict.get("spent", 0.0)


def in_words(row: Row, max_epochs: int | None) -> str:
    """One line: where the run stands and its most telling figures."""
    of = f"/{max_epochs}" if max_epochs and max_epochs > 0 else ""
    shown = [f"epoch {int(row['epoch']) + 1}{of}", f"step {int(row['step'])}"]
    for key in ("train/loss", "val/loss", "val/miou", "val/mean_dice", "val/pq"):
        if key in row and not math.isnan(row[key]):
            shown.append(f"{key} {row[key]:.4f}")
    return "  ".join([*shown, f"lr {row['lr']:.2e}", f"{row['seconds']:.1f} s"])


def write_table(rows: list[Row], path: Path) -> None:
    """Write rows as CSV; the columns are all keys in the order they appeared."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with whole(path) as part, part.open("w", newline="") as f:
        table = csv.DictWriter(f, columns)
        table.writeheader()
        table.writerows(rows)
