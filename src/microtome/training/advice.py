"""What a person can do when a run breaks off: for memory and for space on the disk."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch import Trainer

from ..inference.memory import out_of_memory

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RunError(Exception):
    """A run that had started and could not go on; the message is for a person."""


@contextmanager
def advising(built: Namespace, trainer: Trainer, folder: Path | None) -> Iterator[None]:
    """Turn memory that ran out and a disk that is full into advice.

    Args:
        built: the run's parts, for the present settings.
        trainer: what runs them.
        folder: the run's.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        raise RunError(f"out of memory: {reason}\n{_for_memory(built, trainer)}") from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise RunError(
            f"no space left to write {error.filename or folder}; free some, then go on with "
            "--resume last (a checkpoint is only replaced by one that was written completely)"
        ) from error


def _for_memory(built: Namespace, trainer: Trainer) -> str:
    """What takes less, the cheapest first."""
    ways = _for_tiles(built) if not built.model.training else _for_crops(built, trainer)
    return "What takes less, in this order:\n" + "\n".join(f"  {way}" for way in ways)


def _for_tiles(built: Namespace) -> list[str]:
    module = built.model
    tile, at_once = module.tiling.tile, module.tiling.batch_size
    return [
        *([f"model.tile_batch=1 (now {at_once}): tiles one by one"] if at_once > 1 else []),
        f"model.tile smaller than {tile}",
        *_narrower(str(built.trainer.precision)),
    ]


def _for_crops(built: Namespace, trainer: Trainer) -> list[str]:
    batch, gathered = built.data.batch_size, trainer.accumulate_grad_batches
    halves = (
        f"data.init_args.batch_size={batch // 2} trainer.accumulate_grad_batches={2 * gathered} "
        f"(now {batch} and {gathered}): the same optimiser steps"
    )
    return [
        *_narrower(str(built.trainer.precision)),
        *([] if built.model.checkpointing else ["model.checkpointing=true: slower by a third"]),
        *([halves] if batch > 1 else []),
        "data.init_args.crop (or resize) smaller",
    ]


def _narrower(precision: str) -> list[str]:
    return ["trainer=amp: bfloat16"] if precision.startswith("32") or precision == "None" else []
