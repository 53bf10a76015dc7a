"""Boxes around the objects of label maps."""

from __future__ import annotations

from torch import Tensor

from ..backend import Backend, choose
from . import cpu, reference

__all__ = ["BACKENDS", "masks_to_boxes"]

BACKENDS: tuple[Backend[Tensor], ...] = (
    Backend("cpu", cpu.run, cpu.refusals, cpu.tolerance, cpu.lacking),
    Backend("reference", reference.run, reference.refusals, {}),
)


def masks_to_boxes(maps: Tensor, count: int) -> Tensor:
    """Return the half-open boxes of objects 1…count.

    Args:
        maps: [K, *S] integers, 0 background; an object may lie in one layer or several.
        count: N, the number of objects.

    Returns:
        [N, 2D] int64, `z0 y0 x0 z1 y1 x1` in pixels; zeros for an object without a pixel.

    Raises:
        ValueError: a map holds no integers.
        ValueError, RuntimeError from C++: a map holds a number below 0 or above `count`.
    """
    if maps.is_floating_point():
        raise ValueError(f"expected integer label maps, got {maps.dtype}")
    return choose("masks_to_boxes", BACKENDS, maps, count).run(maps, count)
