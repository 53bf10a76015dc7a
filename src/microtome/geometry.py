"""Array-order geometry: shapes, spacing, scalar to tuple; the one place where axis order flips.

D is the number of spatial axes, always `(z,) y, x`. Shapes and coordinates are in pixels, spacing
in micrometres per pixel; unknown spacing is None, never a silent 1. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple, TypeVar

T = TypeVar("T", int, float)
Shape = tuple[int, ...]
Spacing = tuple[float, ...]
Region = tuple[slice, ...]


def per_axis(value: T | Sequence[T], spatial_dims: int) -> tuple[T, ...]:
    """Turn a scalar or D values into D values: the only scalar-or-tuple in the house.

    Raises ValueError when a sequence of another length is given.
    """
    if isinstance(value, int | float):
        return (value,) * spatial_dims
    values = tuple(value)
    if len(values) != spatial_dims:
        raise ValueError(f"expected 1 or {spatial_dims} values, got {len(values)}: {values}")
    return values


def round_up(shape: Sequence[int], multiple: Sequence[int]) -> Shape:
    """Return the smallest shape that is not smaller than `shape` and divides by `multiple`."""
    return tuple(-(-s // m) * m for s, m in zip(shape, multiple, strict=True))


def window(shape: Sequence[int]) -> Region:
    """Return the region `[0:s]` along every axis."""
    return tuple(slice(0, s) for s in shape)


def extent(region: Region) -> Shape:
    """Return the shape of a region whose slices have a start and a stop."""
    return tuple(s.stop - s.start for s in region)


def proposed_strides(spacing: Sequence[float], steps: Sequence[int]) -> tuple[Shape, ...]:
    """Propose strides per axis for the steps of a pyramid, so that its cells become cubes.

    An axis is halved unless it is already coarser than the finest one by more than a square root
    of two: slices 2 µm apart of pixels of 0.5 µm get no stride along z for the first two halvings.

    Args:
        spacing: micrometres per pixel and axis.
        steps: the strides where all axes are equal, each a power of two: 4 is two halvings.

    Raises ValueError when a step is no power of two.
    """
    if any(step < 1 or step & (step - 1) for step in steps):
        raise ValueError(f"steps must be powers of two, got {list(steps)}")
    cell, strides = list(spacing), []
    for step in steps:
        before = list(cell)
        for _ in range(step.bit_length() - 1):
            finest = min(cell)
            cell = [2 * c if c <= sqrt(2) * finest else c for c in cell]
        strides.append(tuple(round(c / b) for c, b in zip(cell, before, strict=True)))
    return tuple(strides)


class Placement(NamedTuple):
    """Where a crop or tile came from: `source = offset + scale * here`, per axis, in pixels."""

    offset: tuple[float, ...]
    scale: tuple[float, ...]
    shape: Shape  # of the source


def boxes_from_xywh(boxes: Sequence[Sequence[float]]) -> list[list[float]]:
    """COCO's `[x, y, w, h]` (or `[x, y, z, w, h, d]`) to half-open array-order corners.

    2D: `[x, y, w, h] -> [y, x, y + h, x + w]`.
    """
    out = []
    for box in boxes:
        half = len(box) // 2
        low, size = list(box[:half])[::-1], list(box[half:])[::-1]
        out.append(low + [a + b for a, b in zip(low, size, strict=True)])
    return out


def boxes_to_xywh(boxes: Sequence[Sequence[float]]) -> list[list[float]]:
    """Half-open array-order corners to COCO's origin and size; the inverse of `boxes_from_xywh`.

    2D: `[y0, x0, y1, x1] -> [x0, y0, x1 - x0, y1 - y0]`.
    """
    out = []
    for box in boxes:
        half = len(box) // 2
        low, high = list(box[:half])[::-1], list(box[half:])[::-1]
        out.append(low + [b - a for a, b in zip(low, high, strict=True)])
    return out
