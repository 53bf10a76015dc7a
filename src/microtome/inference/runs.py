"""Label maps as runs of equal values: some hundred times smaller than pixels, and quick to relabel.

*S the map's shape, M runs, in the order in which pixels lie in memory (last axis fastest).
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
        values: [M] int32, the label of each run.
        ends: [M] int64, the number of pixels up to the end of each run.
        shape: *S.
    """

    values: Integers
    ends: Integers
    shape: Shape

    @classmethod
    def of(cls, labels: Integers) -> Runs:
        """Of a map [*S] of at least one pixel."""
        flat = labels.ravel()
        ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
        return cls(flat[ends - 1].astype(np.int32), ends, labels.shape)

    @property
    def lengths(self) -> Integers:
        """[M] the pixels of each run."""
        return np.diff(self.ends, prepend=0)

    def read(self, region: Region, table: Integers | None = None) -> Integers:
        """[*region] the labels of a region, or what `table` says for each of them."""
        values = self.values if table is None else table[self.values]
        plane, rows = prod(self.shape[1:]), region[0]
        low, high = rows.start * plane, rows.stop * plane
        first, last = np.searchsorted(self.ends, low, "right"), np.searchsorted(self.ends, high)
        ends = np.minimum(self.ends[first : last + 1], high)
        slab = values[first : last + 1]
        if not slab.any():
            return np.zeros(extent(region), values.dtype)
        whole = np.repeat(slab, np.diff(ends, prepend=low))
        return whole.reshape(-1, *self.shape[1:])[(slice(None), *region[1:])]
