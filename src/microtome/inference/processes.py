"""Tiles predicted in this process or by several, which keep what they find in the spool.

Further processes start anew (spawn), so source and model have to be picklable, and end when this
one does, even if it is killed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context, parent_process
from typing import NamedTuple

import torch

from .running import Behind, TileRun, batched
from .spool import Spool, kind_of

ERRAND = 4  # batches of tiles that a process is sent for: enough to read ahead in


class Event(NamedTuple):
    """What became of a tile: what it holds, or why it could not be read."""

    tile: int
    kind: str
    why: str = ""


def predicted(
    run: TileRun, spool: Spool, numbers: Sequence[int], workers: int, keeper: Behind
) -> Iterator[Event]:
    """Predict tiles; what `keeper` is given after an event finds its tile in the spool.

    Args:
        run: the model and the tiles.
        spool: where results are kept.
        numbers: the tiles.
        workers: processes beside this one; with 0, or hardly a tile, this one does it.
        keeper: keeps results while the model goes on.
    """
    errands = list(batched(numbers, ERRAND * run.batch_size))
    if workers == 0 or len(errands) < 2:
        yield from _kept(run, spool, numbers, keeper)
        return
    threads = max(1, torch.get_num_threads() // workers)
    pool = ProcessPoolExecutor(
        min(workers, len(errands)), get_context("spawn"), _begin, (run, spool, threads)
    )
    try:
        for done in as_completed([pool.submit(_errand, errand) for errand in errands]):
            yield from done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _kept(run: TileRun, spool: Spool, numbers: Sequence[int], keeper: Behind) -> Iterator[Event]:
    for number, answer in run.answers(numbers):
        if isinstance(answer, Exception):
            yield Event(number, "", str(answer))
        else:
            keeper.do(partial(spool.put, number, answer))
            yield Event(number, kind_of(answer))


_work: list[tuple[TileRun, Spool]] = []  # of a process that runs errands


def _begin(run: TileRun, spool: Spool, threads: int) -> None:
    torch.set_num_threads(threads)
    _work.append((run, spool))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _errand(numbers: Sequence[int]) -> list[Event]:
    with Behind() as keeper:
        return list(_kept(*_work[0], numbers, keeper))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
