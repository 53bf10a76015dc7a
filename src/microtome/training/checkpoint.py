"""Checkpoints that are whole, sealed and sufficient: everything needed to predict or to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..blueprint import plain
from ..files import sealed, sweep, verify_file
from ..models.checkpoint import PREFIX
from ..models.frozen import State, frozen_parts, without
from .module import TrainingModule
from .stored import KEY, local


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name in its own folder, syncs, renames and seals it.

    Lightning's own writer goes through the system's temporary folder: on another file system a
    kill or a full disk loses the previous checkpoint as well.

    Args:
        named: weights that the checkpoint only names, put into its state when it is read.
    """

    def __init__(self, named: State | None = None) -> None:
        super().__init__()
        self.named = named or {}

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write `path` and `path.sha256`; raises OSError when there is no space."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        try:
            with sealed(target) as part, part.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            # torch hides the reason behind "unexpected pos 704 vs 598"
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            raise OSError(cause.errno, cause.strerror, str(target)) from error

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a local checkpoint after checking its seal; never runs code from it."""
        source = local(path)
        verify_file(source)
        loaded: dict[str, Any] = torch.load(source, map_location=map_location, weights_only=True)
        loaded["state_dict"] |= self.named
        return loaded


class Header(Callback):
    """Puts into every checkpoint what is needed to use it without anything else.

    That is the config, the blueprint, the class table with its colours, normalisation, how images
    are read (with their spacing), versions and the data's fingerprint. Frozen weights that a file
    holds are taken out, and named.

    Args:
        facts: plain data: the resolved config, versions, the data's fingerprint.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the header."""
        assert isinstance(pl_module, TrainingModule)
        model = pl_module.model
        parts = frozen_parts(model)
        checkpoint["state_dict"] = without(checkpoint["state_dict"], model, parts, PREFIX)
        checkpoint[KEY] = {
            **self.facts,
            "blueprint": model.blueprint,
            "classes": plain(model.classes),
            "normalisation": model.normaliser.kind,
            "usage": plain(model.usage._asdict()),
            "frozen": [part._asdict() for part in parts],
        }


def keepers(folder: Path, monitor: str, mode: str, by_steps: bool) -> list[ModelCheckpoint]:
    """Keep `best.ckpt` by a named metric, and `last.ckpt` of every epoch.

    Where validations are counted by steps, epochs may be long: then `last.ckpt` is of the last one.
    """
    shared: dict[str, Any] = {
        "dirpath": folder,
        "enable_version_counter": False,
        "auto_insert_metric_name": False,
    }
    best = ModelCheckpoint(
        filename="best",
        monitor=monitor,
        mode=mode,
        save_on_train_epoch_end=monitor.startswith("train/"),
        **shared,
    )
    last = ModelCheckpoint(filename="last", save_on_train_epoch_end=not by_steps, **shared)
    return [best, last]
