"""Settings that follow from what is in the data: queries, tiles, how many objects are kept."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from ..geometry import Shape

_SMALLEST, _LARGEST, _STEP = 128, 1024, 64  # of tiles
_SHARES = (0.125, 0.25, 0.375, 0.5)  # of a tile that its neighbour repeats


class Tile(NamedTuple):
    """How images are cut for prediction.

    Attributes:
        size: pixels, per axis.
        overlap: the part of a tile that the next one repeats.
        whole: whether every object lies whole in some tile.
    """

    size: Shape
    overlap: float
    whole: bool


def enough_queries(objects: int) -> int:
    """A quarter more than there are objects, in fifties; not less than the 100 that are usual."""
    return max(100, 50 * ceil(1.25 * objects / 50))


def enough_detections(objects: int) -> int:
    """Half more than one image has, in hundreds; not less than the 100 that are usual."""
    return max(100, 100 * ceil(1.5 * objects / 100))


def fitting_tile(largest: Sequence[int], image: Sequence[int]) -> Tile:
    """A tile four times as wide as the largest object, as far as that is usual.

    Args:
        largest: pixels along each axis of the boxes of all objects, at most.
        image: the largest image; a tile is not larger than that needs.
    """
    size = tuple(
        min(max(_SMALLEST, min(_LARGEST, _rounded(4 * need))), _rounded(have))
        for need, have in zip(largest, image, strict=True)
    )
    size = tuple(max(size) if 2 * side >= max(size) else side for side in size)
    share = max(
        need / side if side < have else 0.0
        for need, side, have in zip(largest, size, image, strict=True)
    )
    return Tile(size, next((s for s in _SHARES if s >= share), _SHARES[-1]), share <= _SHARES[-1])


def _rounded(pixels: int) -> int:
    return _STEP * ceil(pixels / _STEP) if pixels > _STEP else 8 * ceil(pixels / 8)
