"""Values of maps at points between pixels."""

from __future__ import annotations

from torch import Tensor

from ..backend import Backend, choose
from . import cpu, reference

__all__ = ["BACKENDS", "point_sample"]

BACKENDS = (
    Backend("cpu", cpu.run, cpu.refusals, cpu.tolerance, cpu.lacking),
    Backend("reference", reference.run, reference.refusals, {}),
)


def point_sample(maps: Tensor, points: Tensor, mode: str = "linear") -> Tensor:
    """Sample maps at points; the maps are zero beyond their borders.

    Points that are not finite are nan, and so are their gradients; maps get none from them.

    Args:
        maps: [B, C, *S], floating point.
        points: [B, P, D] array order, 0…1 from border to border: pixel i of S has its centre at
            (i + 0.5) / S. float32 or float64, since half precision is off by whole pixels.
        mode: `linear` or `nearest`.

    Returns:
        [B, C, P], of the maps' dtype; computed in at least float32.

    Raises:
        ValueError: shapes, dtypes or mode do not fit; all that is wrong is listed.
    """
    wrong = _problems(maps, points, mode)
    if wrong:
        raise ValueError("point_sample: " + "; ".join(wrong))
    return choose("point_sample", BACKENDS, maps, points, mode).run(maps, points, mode)


def _problems(maps: Tensor, points: Tensor, mode: str) -> list[str]:
    wrong = []
    if mode not in ("linear", "nearest"):
        wrong.append(f"mode is `linear` or `nearest`, got {mode!r}")
    if not maps.is_floating_point():
        wrong.append(f"maps must be floating point, got {maps.dtype}")
    if points.dtype.itemsize < 4 or not points.is_floating_point():
        wrong.append(f"points must be float32 or float64, got {points.dtype}")
    if points.ndim != 3 or points.shape[0] != maps.shape[0] or points.shape[2] != maps.ndim - 2:
        expected = f"[{maps.shape[0]}, P, {maps.ndim - 2}]"
        wrong.append(f"points of maps {list(maps.shape)} are {expected}, got {list(points.shape)}")
    return wrong
