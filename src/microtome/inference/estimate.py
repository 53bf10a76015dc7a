"""What a prediction will take, from a batch of tiles in the middle of the image."""

from __future__ import annotations

import sys
import tempfile
import time
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch

from ..data.stores import Source
from ..structures import Segmentation
from .running import Predicts, TileRun
from .spool import SCORES, Spool, kind_of
from .tiles import TileGrid
from .tiling import Tiling


class Estimate(NamedTuple):
    """What a prediction will take.

    Attributes:
        objects: whether the model answers with objects.
        tiles: how many.
        seconds: in all, if other tiles are like those in the middle.
        memory: bytes, the most that this process held so far; 0 where that is not known.
        device_memory: bytes on the GPU; 0 without.
        disk: bytes for what waits to be put together.
    """

    objects: bool
    tiles: int
    seconds: float
    memory: int
    device_memory: int
    disk: int

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        hours, minutes = divmod(minutes, 60)
        lasts = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
        memory = f"{self.memory / 2**30:.1f} GiB of memory"
        if self.device_memory:
            memory += f" and {self.device_memory / 2**30:.1f} GiB on the GPU"
        disk = f"{self.disk / 2**30:.1f} GiB on disk until the end"
        return f"{self.tiles} tiles, about {lasts}, {memory}, {disk}"


def estimate(source: Source, model: Predicts, tiling: Tiling, workers: int = 0) -> Estimate:
    """Predict a batch of tiles twice, once to warm up, and keep it as a run would.

    Args:
        source: the image.
        model: anything with `predict_samples`.
        tiling: tiles, in mode `sliding`.
        workers: processes that will share the work.

    Raises ValueError for impossible tiles, and ImageReadError when the middle cannot be read.
    """
    grid = tiling.grid(source.info)
    run = TileRun(source, model, grid, tiling.batch_size)
    first = max(0, len(grid) // 2 - tiling.batch_size // 2)
    numbers = range(first, min(first + tiling.batch_size, len(grid)))
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder), grid)
        for _ in range(2):
            start = time.perf_counter()
            scored = _keep(run, spool, numbers)
            seconds = (time.perf_counter() - start) / len(numbers)
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / len(numbers)
    waiting = _band(grid) if scored else len(grid)
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    total = len(grid) * seconds / max(1, workers)
    return Estimate(not scored, len(grid), total, _peak_memory(), gpu, int(waiting * size))


def _keep(run: TileRun, spool: Spool, numbers: range) -> bool:
    """Predict and keep tiles; say whether they have scores."""
    kind = ""
    for number, answer in run.answers(numbers):
        if not isinstance(answer, Segmentation):
            raise answer
        spool.put(number, answer)
        kind = kind_of(answer)
    return kind == SCORES


def _band(grid: TileGrid) -> int:
    """How many tiles of scores wait at a time: two along the first axis."""
    return min(len(grid), 2 * prod(map(len, grid.starts[1:])))


def _peak_memory() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
