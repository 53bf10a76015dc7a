"""Where tiles lie: pure arithmetic, the same positions as MONAI's sliding window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from ..geometry import Region, Shape, per_axis


@dataclass(frozen=True)
class TileGrid:
    """Overlapping tiles that cover an image; the last of an axis is shifted inside.

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
            overlap: the part of a tile that the next one repeats, per axis, in [0, 1).

        Raises ValueError, listing everything wrong, for empty images or tiles and other overlaps.
        """
        tiles, overlaps = per_axis(tile, len(shape)), per_axis(overlap, len(shape))
        wrong = []
        if not shape or min(shape) < 1:
            wrong.append(f"the image has no pixels: its shape is {shape}")
        if min(tiles, default=1) < 1:
            wrong.append(f"tile must be at least 1 pixel per axis, got {tile}")
        if not all(0 <= o < 1 for o in overlaps):
            wrong.append(f"overlap must be in [0, 1), got {overlap}")
        if wrong:
            raise ValueError("tiles: " + "; ".join(wrong))
        fitting = tuple(min(t, s) for t, s in zip(tiles, shape, strict=True))
        starts = tuple(_starts(*axis) for axis in zip(shape, fitting, overlaps, strict=True))
        return cls(tuple(shape), fitting, starts)

    def __len__(self) -> int:
        number = 1
        for starts in self.starts:
            number *= len(starts)
        return number

    def __iter__(self) -> Iterator[Region]:
        """Regions with the last axis fastest, so that the first axis only ever moves on."""
        for corner in product(*self.starts):
            yield tuple(slice(c, c + t) for c, t in zip(corner, self.tile, strict=True))


def _starts(size: int, tile: int, overlap: float) -> tuple[int, ...]:
    step = max(int(tile * (1 - overlap)), 1)
    number = -(-(size - tile) // step) + 1
    return tuple(min(i * step, size - tile) for i in range(number))
