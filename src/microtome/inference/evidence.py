"""What two overlapping tiles say of each other's objects: how many pixels each pair shares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .fragments import Fragments
from .runs import Integers, overlaps
from .tiles import TileGrid, shared, within

Pairs = npt.NDArray[np.void]
Columns = tuple[Integers, Integers, Integers, npt.NDArray[np.bool_]]

PAIR = np.dtype(
    [
        ("a", np.int32),  # rows in the table of all fragments
        ("b", np.int32),
        ("count", np.int32),  # pixels that both hold
        ("alike", np.bool_),  # most of what either has where the tiles overlap
    ]
)


def earlier_neighbours(grid: TileGrid, number: int) -> list[int]:
    """The tiles that overlap a tile and have a smaller number."""
    return [other for other in grid.touching(grid[number]) if other < number]


def compare(
    grid: TileGrid, numbers: tuple[int, int], found: tuple[Fragments, Fragments]
) -> Columns:
    """Compare two tiles where they overlap.

    Returns rows [M] of the first, rows [M] of the second, pixels shared [M], and whether each of a
    pair holds more than half of the other there [M].
    """
    regions = grid[numbers[0]], grid[numbers[1]]
    both = shared(*regions)
    a, b = (one.runs.seen(within(both, region)) for one, region in zip(found, regions, strict=True))
    ids_a, ids_b, counts = overlaps(a, b)
    rows_a, rows_b = ids_a - 1, ids_b - 1
    size_a, size_b = a.areas(len(found[0].rows))[rows_a], b.areas(len(found[1].rows))[rows_b]
    return rows_a, rows_b, counts, 2 * counts > np.maximum(size_a, size_b)


def pairs_of(columns: Columns, offsets: tuple[int, int]) -> Pairs:
    """Make a table of what `compare` found; `offsets` is where each tile's rows begin."""
    pairs = np.zeros(len(columns[0]), PAIR)
    pairs["a"], pairs["b"] = columns[0] + offsets[0], columns[1] + offsets[1]
    pairs["count"], pairs["alike"] = columns[2], columns[3]
    return pairs
