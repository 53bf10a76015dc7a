"""What two overlapping tiles say of each other's objects: how many pixels each pair shares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ..ops.mask_overlap import mask_overlap
from .fragments import Fragments
from .runs import Integers
from .tiles import TileGrid, shared, within

Pairs = npt.NDArray[np.void]

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
) -> tuple[Integers, ...]:
    """Compare two tiles where they overlap.

    Returns rows [M] of the first, rows [M] of the second, pixels shared [M], and whether each of a
    pair holds more than half of the other there [M].
    """
    regions = grid[numbers[0]], grid[numbers[1]]
    both = shared(*regions)
    a, b = (one.runs.read(within(both, region)) for one, region in zip(found, regions, strict=True))
    size_a = np.bincount(a.ravel(), minlength=len(found[0].rows) + 1)
    size_b = np.bincount(b.ravel(), minlength=len(found[1].rows) + 1)
    real = (a > 0) & (b > 0)
    pairs = mask_overlap(torch.from_numpy(a[real]), torch.from_numpy(b[real]))
    ids_a, ids_b, counts = (column.numpy() for column in pairs)
    alike = 2 * counts > np.maximum(size_a[ids_a], size_b[ids_b])
    return ids_a - 1, ids_b - 1, counts, alike


def pairs_of(columns: tuple[Integers, ...], offsets: tuple[int, int]) -> Pairs:
    """Make a table of what `compare` found; `offsets` is where each tile's rows begin."""
    pairs = np.zeros(len(columns[0]), PAIR)
    pairs["a"], pairs["b"] = columns[0] + offsets[0], columns[1] + offsets[1]
    pairs["count"], pairs["alike"] = columns[2], columns[3]
    return pairs
