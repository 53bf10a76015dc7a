"""Label maps as runs of equal labels: some hundred times smaller than pixels, and quick to compare.

D axes, *S the map's shape, M runs, in the order in which pixels lie in memory (last axis fastest).
A run lies within one line along the last axis; background has none.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..geometry import Region, Shape, extent

Integers = npt.NDArray[np.integer[Any]]


class Runs(NamedTuple):
    """A label map [*S].

    Attributes:
        values: [M] the label of each run, above 0.
        starts: [M] int64, the first pixel of each run, counted through the map.
        lengths: [M] int64.
        shape: *S.
    """

    values: Integers
    starts: Integers
    lengths: Integers
    shape: Shape

    @classmethod
    def of(cls, labels: Integers) -> Runs:
        """Of a map [*S] of at least one pixel."""
        change = np.ones(labels.shape, np.bool_)
        np.not_equal(labels[..., 1:], labels[..., :-1], out=change[..., 1:])
        starts = np.flatnonzero(change)
        values = labels.reshape(-1)[starts]
        lengths = np.diff(starts, append=labels.size)
        there = values > 0
        return cls(values[there], starts[there], lengths[there], labels.shape)

    def seen(self, region: Region) -> Runs:
        """What of the runs lies in a region, counted from its corner; it may exceed the map."""
        plane, rows = prod(self.shape[1:]), region[0]
        span = (max(0, rows.start) * plane, max(0, rows.stop) * plane)
        first, last = np.searchsorted(self.starts, span)
        there = slice(max(0, first - 1), last)  # of one axis, the run before may reach into it
        values, lengths = self.values[there], self.lengths[there]
        low = [at - part.start for at, part in zip(self._places(there), region, strict=True)]
        size = extent(region)
        end = np.minimum(low[-1] + lengths, size[-1])
        low[-1] = np.maximum(low[-1], 0)
        inside = end > low[-1]
        for at, count in zip(low[:-1], size[:-1], strict=True):
            inside &= (at >= 0) & (at < count)
        kept = [at[inside] for at in low]
        starts = np.ravel_multi_index(kept, size).astype(np.int64)
        return Runs(values[inside], starts, end[inside] - kept[-1], size)

    def paint(self, out: Integers, table: Integers) -> None:
        """Write what `table` says for each label into `out` [*S], contiguous, where it is not 0."""
        painted = table[self.values]
        there = painted > 0
        pixels = _counted(self.starts[there], self.lengths[there])
        out.reshape(-1)[pixels] = np.repeat(painted[there], self.lengths[there])

    def areas(self, count: int) -> Integers:
        """[count] int64, the pixels of the labels 1…count."""
        found = np.bincount(self.values, self.lengths, count + 1)
        return found[1:].astype(np.int64)

    def first(self, count: int) -> Integers:
        """[count] int64, the first pixel of the labels 1…count; 0 for one without a pixel."""
        values, index = np.unique(self.values, return_index=True)
        first = np.zeros(count, np.int64)
        first[values - 1] = self.starts[index]
        return first

    def boxes(self, count: int) -> Integers:
        """[count, 2D] int64, half-open boxes of the labels 1…count; 0 for one without a pixel."""
        order = np.argsort(self.values, kind="stable")
        values, places = self.values[order], np.stack(self._places(order), 1)
        starts = np.flatnonzero(np.diff(values, prepend=0))
        boxes = np.zeros((count, 2 * len(self.shape)), np.int64)
        if len(starts):
            ends = places + 1
            ends[:, -1] = places[:, -1] + self.lengths[order]
            which = values[starts] - 1
            boxes[which, : len(self.shape)] = np.minimum.reduceat(places, starts)
            boxes[which, len(self.shape) :] = np.maximum.reduceat(ends, starts)
        return boxes

    def _places(self, which: Any) -> list[npt.NDArray[np.int64]]:
        """D times [...], the first pixels of runs along each axis."""
        return list(np.unravel_index(self.starts[which], self.shape))


def overlaps(a: Runs, b: Runs) -> tuple[Integers, Integers, Integers]:
    """Count the pixels that labels of two maps of one shape share.

    Returns labels of the first [P], of the second [P], and pixels [P] int64; sorted, each pair that
    occurs once.
    """
    low = np.searchsorted(b.starts + b.lengths, a.starts, "right")
    high = np.searchsorted(b.starts, a.starts + a.lengths, "left")
    times = np.maximum(high - low, 0)
    one = np.repeat(np.arange(len(times)), times)
    other = _counted(low, times)
    start = np.maximum(a.starts[one], b.starts[other])
    end = np.minimum(a.starts[one] + a.lengths[one], b.starts[other] + b.lengths[other])
    width = int(b.values.max(initial=0)) + 1
    keys = a.values[one].astype(np.int64) * width + b.values[other]
    pairs, place = np.unique(keys, return_inverse=True)
    counts = np.bincount(place, end - start, len(pairs)).astype(np.int64)
    return pairs // width, pairs % width, counts


def _counted(starts: Integers, lengths: Integers) -> Integers:
    """`start, start + 1, …` for each start, `length` numbers of each."""
    before = np.cumsum(lengths) - lengths
    counted: Integers = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    return counted
