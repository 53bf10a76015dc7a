"""Large volumes looked at in a few blocks, where reading all of them would take hours."""

from __future__ import annotations

from itertools import product
from math import prod

from ..geometry import Region, Shape, extent, window
from ..structures import DataSample
from .datasets import RegionDataset, SampleDataset

MOST = 1 << 25  # pixels of a sample that are looked at


def in_blocks(data: SampleDataset) -> SampleDataset:
    """The data set, or the blocks of its samples where these can be read in parts and are large."""
    if not isinstance(data, RegionDataset):
        return data
    if all(prod(data.shape(item)) <= MOST for item in range(len(data))):
        return data
    return Blocks(data)


class Blocks(RegionDataset):
    """Blocks of the samples of another data set as samples."""

    def __init__(self, data: RegionDataset) -> None:
        super().__init__()
        self.data, self.classes = data, data.classes
        self.places = [(i, r) for i in range(len(data)) for r in blocks_of(data.shape(i))]

    def __len__(self) -> int:
        return len(self.places)

    def shape(self, item: int) -> Shape:
        """*S of a block."""
        return extent(self.places[item][1])

    def read(self, item: int, region: Region) -> DataSample:
        """A part of a block."""
        sample, block = self.places[item]
        within = tuple(
            slice(b.start + r.start, b.start + r.stop) for b, r in zip(block, region, strict=True)
        )
        return self.data.read(sample, within)


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
