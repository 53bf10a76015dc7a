"""Large volumes looked at in a few blocks, where reading all of them would take hours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

from ..geometry import Region, Shape, window
from .datasets import RegionDataset, SampleDataset
from .opened import Part

MOST = 1 << 25  # pixels of a sample that are looked at


def in_blocks(data: SampleDataset) -> SampleDataset:
    """The data set, or the blocks of its samples where these can be read in parts and are large."""
    if not isinstance(data, RegionDataset):
        return data
    shapes = [data.open(item).shape for item in range(len(data))]
    return data if all(prod(shape) <= MOST for shape in shapes) else Blocks(data, shapes)


class Blocks(RegionDataset):
    """Blocks of the samples of another data set as samples."""

    def __init__(self, data: RegionDataset, shapes: Sequence[Shape]) -> None:
        super().__init__()
        self.data, self.classes = data, data.classes
        self.places = [(i, r) for i, shape in enumerate(shapes) for r in blocks_of(shape)]

    def __len__(self) -> int:
        return len(self.places)

    def open(self, item: int) -> Part:
        """A block of what the other data set opens."""
        sample, block = self.places[item]
        return Part(self.data.open(sample), block)


def blocks_of(shape: Shape, most: int = MOST) -> list[Region]:
    """The whole, or one block amid each of its `2^D` parts, which hold `most` pixels together."""
    if prod(shape) <= most:
        return [window(shape)]
    share = (most / prod(shape)) ** (1 / len(shape))  # of each side
    sides = []
    for size in shape:
        length = max(1, int(size / 2 * share))
        first = (size // 2 - length) // 2
        sides.append([slice(start, start + length) for start in (first, first + size // 2)])
    return list(product(*sides))
