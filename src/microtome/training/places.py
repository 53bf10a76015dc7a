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
        ckpt_path: a file; or the folder of a run or of its checkpoints, or `last`, which is that in
            `folder`: of these the newest that is whole.
        folder: the run's.

    Raises ValueError for URLs and when all checkpoints of the run are damaged, FileNotFoundError
    for a file that is not there, and a folder with no checkpoint.
    """
    if ckpt_path is None:
        return None
    if ckpt_path != LAST and Path(ckpt_path).is_dir():
        return _newest_in(Path(ckpt_path))
    if ckpt_path != LAST:
        return local(ckpt_path)
    found = newest(folder / CHECKPOINTS)
    if found is None:
        log.info(f"no checkpoint in {folder / CHECKPOINTS} yet: from the beginning")
    return found


def _newest_in(given: Path) -> Path:
    place = given / CHECKPOINTS
    found = newest(place if place.is_dir() else given)
    if found is None:
        raise FileNotFoundError(f"{given}: no checkpoint (*.ckpt) in it to go on from")
    return found


def free(wanted: Path, ckpt_path: str | None) -> Path:
    """Go on in the folder of the run's own checkpoint; else take one that no run has used.

    Args:
        wanted: where the run would like to write.
        ckpt_path: as for `start_of`.
    """
    own = wanted.resolve()
    if ckpt_path:
        given = Path(ckpt_path).resolve()
        if ckpt_path == LAST or own / CHECKPOINTS in (given.parent, given) or own == given:
            return wanted
    folder, number = wanted, 1
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder
