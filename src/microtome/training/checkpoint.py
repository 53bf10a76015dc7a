"""Checkpoints that are whole, sealed and sufficient: everything needed to predict or to go on."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..blueprint import plain
from ..files import sealed, sweep, verify_file
from .module import TrainingModule

KEY = "microtome"


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name in its own folder, syncs, renames and seals it.

    Lightning's own writer goes through the system's temporary folder: on another file system a
    kill or a full disk loses the previous checkpoint as well.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write `path` and `path.sha256`."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        with sealed(target) as part:
            torch.save(checkpoint, part)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a local checkpoint after checking its seal; never runs code from it."""
        source = local(path)
        verify_file(source)
        loaded: dict[str, Any] = torch.load(source, map_location=map_location, weights_only=True)
        return loaded


def local(path: Any) -> Path:
    """Return a checkpoint's path.

    Raises ValueError for a URL and FileNotFoundError when nothing is there.
    """
    if "://" in str(path):
        raise ValueError(f"{path}: checkpoints are read from local files only; download it first")
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: there is no such checkpoint")
    return source


def read_header(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself: `config`, `blueprint`, `versions`, `data` and more.

    Raises ValueError when microtome did not write it.
    """
    header: dict[str, Any] = _content(local(path))[KEY]
    return header


def check_fits(path: Any, module: LightningModule) -> None:
    """Compare a checkpoint with the model that is to take its weights.

    Raises ValueError when it is of another model, CorruptFileError when it is damaged.
    """
    source = local(path)
    verify_file(source)
    saved = {k: tuple(v.shape) for k, v in _content(source)["state_dict"].items()}
    own = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    wrong = [
        f"{key} is {saved.get(key, 'missing')} there and {own.get(key, 'missing')} here"
        for key in (*own, *(saved.keys() - own.keys()))
        if saved.get(key) != own.get(key)
    ]
    if wrong:
        raise ValueError(
            f"{source}: of another model than the config describes: {len(wrong)} weights do not "
            f"fit, such as {'; '.join(wrong[:2])}"
        )


def _content(source: Path) -> dict[str, Any]:
    """What stands in a checkpoint, its tensors without their values."""
    try:
        content = torch.load(source, map_location="meta", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, OSError, ValueError, UnpicklingError) as error:
        raise ValueError(f"{source}: not a readable checkpoint ({error})") from error
    if not isinstance(content, dict) or KEY not in content or "state_dict" not in content:
        raise ValueError(f"{source}: not a microtome checkpoint (it has no {KEY!r} section)")
    return content


class Header(Callback):
    """Puts into every checkpoint what is needed to use it without anything else.

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
        checkpoint[KEY] = {
            **self.facts,
            "blueprint": model.blueprint,
            "usage": plain(model.usage._asdict()),
        }


def keepers(folder: Path, monitor: str, mode: str) -> list[ModelCheckpoint]:
    """Keep `best.ckpt` by a named metric, and `last.ckpt` after every epoch."""
    shared: dict[str, Any] = {
        "dirpath": folder,
        "enable_version_counter": False,
        "auto_insert_metric_name": False,
    }
    best = ModelCheckpoint(filename="best", monitor=monitor, mode=mode, **shared)
    last = ModelCheckpoint(filename="last", save_on_train_epoch_end=True, **shared)
    return [best, last]
