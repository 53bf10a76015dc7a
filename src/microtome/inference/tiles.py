"""Where tiles lie: pure arithmetic, the same positions as MONAI's sliding window."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from math import prod

from ..geometry import Region, Shape, per_axis


@dataclass(frozen=True)
class TileGrid:
    """Overlapping tiles that cover an image; the last of an axis is shifted inside.

    A tile's number is its place in the grid with the last axis fastest, so that first rows only
    ever grow.

    Attributes:
        shape: *S of the image.
        tile: the shape of every tile, not larger than the image.
        starts: per axis, where tiles begin.
    """

    shape: Shape
    tile: Shape
    starts: tuple[tuple[int, ...], ...]

    @classmethod
    def plan(
        cls, shape: Shape, tile: int | Sequence[int], overlap: float | Sequence[float]
    ) -> TileGrid:
        """Lay tiles over an image.

        Args:
            shape: *S of the image.
            tile: pixels per axis; where it exceeds the image, the image's size is taken.
            overlap: what the next tile repeats of one, per axis: below 1 a part of the tile, from
                1 on pixels.

        Raises ValueError, listing everything wrong, for empty images or tiles and other overlaps.
        """
        tiles, overlaps = per_axis(tile, len(shape)), per_axis(overlap, len(shape))
        wrong = []
        if not shape or min(shape) < 1:
            wrong.append(f"the image has no pixels: its shape is {shape}")
        if min(tiles, default=1) < 1:
            wrong.append(f"tile must be at least 1 pixel per axis, got {tile}")
        if not all(o < 1 or o < t for o, t in zip(overlaps, tiles, strict=True)):
            wrong.append(f"overlap must be smaller than the tile, got {overlap} for {tile}")
        if not all(o >= 0 for o in overlaps):
            wrong.append(f"overlap must not be negative, got {overlap}")
        if wrong:
            raise ValueError("tiles: " + "; ".join(wrong))
        fitting = tuple(min(t, s) for t, s in zip(tiles, shape, strict=True))
        starts = tuple(_starts(*axis) for axis in zip(shape, tiles, overlaps, strict=True))
        return cls(tuple(shape), fitting, starts)

    def __len__(self) -> int:
        return prod(map(len, self.starts))

    def __iter__(self) -> Iterator[Region]:
        return (self._at(corner) for corner in product(*self.starts))

    def __getitem__(self, number: int) -> Region:
        corner = []
        for starts in reversed(self.starts):
            number, place = divmod(number, len(starts))
            corner.append(starts[place])
        return self._at(tuple(reversed(corner)))

    def touching(self, region: Region) -> list[int]:
        """The numbers of the tiles that share a pixel with `region`, rising."""
        places = [
            range(bisect_right(starts, part.start - size), bisect_left(starts, part.stop))
            for starts, size, part in zip(self.starts, self.tile, region, strict=True)
        ]
        return [self._number(place) for place in product(*places)]

    def owner(self, point: Sequence[float]) -> int:
        """The number of the tile in whose core `point` lies: cores meet amid the overlaps."""
        places = [bisect_right(*axis) for axis in zip(self._cores, point, strict=True)]
        return self._number(places)

    @cached_property
    def _cores(self) -> list[list[float]]:
        """Per axis, where one tile's core ends and the next one's begins."""
        return [
            [(after + before + size) / 2 for before, after in pairwise(starts)]
            for starts, size in zip(self.starts, self.tile, strict=True)
        ]

    def _number(self, places: Sequence[int]) -> int:
        number = 0
        for place, starts in zip(places, self.starts, strict=True):
            number = number * len(starts) + place
        return number

    def _at(self, corner: Shape) -> Region:
        return tuple(slice(c, c + t) for c, t in zip(corner, self.tile, strict=True))


def shared(a: Region, b: Region) -> Region:
    """Where two regions lie on each other; they must."""
    both = zip(a, b, strict=True)
    return tuple(slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in both)


def within(region: Region, outer: Region) -> Region:
    """A region counted from where `outer` begins."""
    both = zip(region, outer, strict=True)
    return tuple(slice(p.start - q.start, p.stop - q.start) for p, q in both)


def _starts(size: int, tile: int, overlap: float) -> tuple[int, ...]:
    tile = min(tile, size)
    step = max(int(tile * (1 - overlap) if overlap < 1 else tile - overlap), 1)
    number = -(-(size - tile) // step) + 1
    return tuple(min(i * step, size - tile) for i in range(number))
