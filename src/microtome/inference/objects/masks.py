"""The mask of each object, cut to its box, without holding a map of any size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...geometry import Region
from .found import FoundObjects, blocks
from .measuring import Measured


class ObjectMask(NamedTuple):
    """One object.

    Attributes:
        item: which of the N objects.
        region: its box, as slices.
        inside: [*region] bool.
    """

    item: int
    region: Region
    inside: npt.NDArray[np.bool_]


def masks(found: FoundObjects, measured: Measured) -> Iterator[ObjectMask]:
    """Every object with a pixel, once; in the order of blocks, large ones last.

    Objects inside a block are cut out of it, so that no block is read twice for them; those that
    lie in several are read one by one.
    """
    waiting = measured.pixels > 0
    low, high = np.split(measured.boxes, 2, axis=1)
    for layer, numbers in enumerate(found.maps):
        for region in blocks(numbers):
            start = np.array([part.start for part in region])
            stop = np.array([part.stop for part in region])
            here = waiting & (measured.layers == layer)
            here &= (low >= start).all(1) & (high <= stop).all(1)
            waiting &= ~here
            if not here.any():
                continue
            values = numbers.read(region)
            for index in np.flatnonzero(here):
                box = _region(low[index] - start, high[index] - start)
                inside = values[box] == index + 1
                yield ObjectMask(int(index), _region(low[index], high[index]), inside)
    for index in np.flatnonzero(waiting):
        box = _region(low[index], high[index])
        inside = found.maps[measured.layers[index]].read(box) == index + 1
        yield ObjectMask(int(index), box, inside)


def _region(low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]) -> Region:
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
