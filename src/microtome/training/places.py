"""Where a run starts from and where it writes."""

from __future__ import annotations

import logging
from pathlib import Path

from .stored import LAST, local, newest

log = logging.getLogger("microtome")

CHECKPOINTS = "checkpoints"


def start_of(ckpt_path: str | None, folder: Path) -> Path | None:
    """Return the checkpoint to start from; None starts at the beginning.

    Args:
        ckpt_path: a file; or `last`, which is the newest in `folder` that is whole.
        folder: the run's.

    Raises ValueError for URLs and when all checkpoints of the run are damaged, FileNotFoundError
    for a file that is not there.
    """
    if ckpt_path is None:
        return None
    if ckpt_path != LAST:
        return local(ckpt_path)
    found = newest(folder / CHECKPOINTS)
    if found is None:
        log.info(f"no checkpoint in {folder / CHECKPOINTS} yet: from the beginning")
    return found


def free(wanted: Path, ckpt_path: str | None) -> Path:
    """Go on in the folder of the run's own checkpoint; else take one that no run has used."""
    own = (wanted / CHECKPOINTS).resolve()
    if ckpt_path == LAST or (ckpt_path and Path(ckpt_path).resolve().parent == own):
        return wanted
    folder, number = wanted, 1
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder
