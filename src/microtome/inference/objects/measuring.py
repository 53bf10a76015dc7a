"""How large objects are and where: one pass over their maps, block by block.

N objects, D axes, R runs (pixels of one object beside each other along the last axis).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..runs import Runs
from .found import FoundObjects, Numbers, blocks

Integers = npt.NDArray[np.int64]


class Measured(NamedTuple):
    """What is known of N objects; one without a pixel has zeros everywhere, and layer -1.

    Attributes:
        pixels: [N] how many.
        centroids: [N, D] float64 in pixels; the middle of the first pixel is 0, as in scikit-image.
        boxes: [N, 2D] half-open, in pixels.
        layers: [N] which map holds the object.
    """

    pixels: Integers
    centroids: npt.NDArray[np.float64]
    boxes: Integers
    layers: Integers


class _Runs(NamedTuple):
    numbers: Integers  # [R]
    starts: Integers  # [R, D]
    lengths: Integers  # [R]


def measure(found: FoundObjects) -> Measured:
    """Measure objects in memory or in a store of any size; sums are integers, so exact.

    Raises ValueError when a map holds a number that is none of the objects.
    """
    sums = _Sums(len(found), len(found.shape))
    for layer, numbers in enumerate(found.maps):
        for region in blocks(numbers):
            runs = _runs(numbers.read(region), [part.start for part in region])
            sums.add(runs, layer)
    return sums.measured()


def _runs(values: Numbers, corner: list[int]) -> _Runs:
    runs = Runs.of(values)
    places = np.stack(np.unravel_index(runs.starts, values.shape), 1)
    values, lengths = (part.astype(np.int64, copy=False) for part in (runs.values, runs.lengths))
    return _Runs(values, places + np.asarray(corner), lengths)


class _Sums:
    def __init__(self, count: int, dims: int) -> None:
        self.pixels = np.zeros(count, np.int64)
        self.moments = np.zeros((count, dims), np.int64)  # twice the sum of the coordinates
        self.low = np.full((count, dims), np.iinfo(np.int64).max)
        self.high = np.zeros((count, dims), np.int64)
        self.layers = np.full(count, -1)

    def add(self, runs: _Runs, layer: int) -> None:
        """Add up the runs of each object; reduceat wants them together."""
        order = np.argsort(runs.numbers, kind="stable")
        numbers, starts, lengths = (part[order] for part in runs)
        first = np.flatnonzero(np.diff(numbers, prepend=0))
        if not len(first):
            return
        which = numbers[first] - 1
        if which[-1] >= len(self.pixels):
            raise ValueError(
                f"a map holds the number {which[-1] + 1}, and there are {len(self.pixels)} objects"
            )
        ends = starts.copy()
        ends[:, -1] += lengths - 1
        self.pixels[which] += np.add.reduceat(lengths, first)
        self.moments[which] += np.add.reduceat((starts + ends) * lengths[:, None], first)
        self.low[which] = np.minimum(self.low[which], np.minimum.reduceat(starts, first))
        self.high[which] = np.maximum(self.high[which], np.maximum.reduceat(ends + 1, first))
        self.layers[which] = layer

    def measured(self) -> Measured:
        low = np.where(self.layers[:, None] < 0, 0, self.low)
        centroids = self.moments / (2 * np.maximum(self.pixels, 1))[:, None]
        return Measured(self.pixels, centroids, np.concatenate([low, self.high], 1), self.layers)
