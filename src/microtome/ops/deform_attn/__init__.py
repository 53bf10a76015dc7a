"""Multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021), any number of axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from ..backend import Backend, choose
from . import reference

__all__ = ["BACKENDS", "deform_attn"]

BACKENDS = (Backend("reference", reference.run, reference.refusals, {}),)


def deform_attn(
    value: Tensor, shapes: Sequence[Sequence[int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """Sum a few weighted samples of all levels for each query and head.

    Letters: B batch, N positions of all levels, H heads, C channels of a head, Q queries, L levels,
    P points, D axes.

    Args:
        value: [B, N, H, C], the levels' positions one after the other, each in array order.
        shapes: the spatial shape of each level: L tuples of D integers, N positions in all.
        locations: [B, Q, H, L, P, D] array order, 0…1 from border to border of a level: pixel i
            of S has its centre at (i + 0.5) / S. Levels are zero beyond their borders. float32 or
            float64, since bfloat16 is off by half a pixel at 256 pixels.
        weights: [B, Q, H, L, P].

    Returns:
        [B, Q, H, C], of the value's dtype; accumulated in at least float32.

    Raises:
        ValueError: shapes or dtypes do not fit, or every backend refuses; all reasons are listed.
    """
    wrong = _problems(value, shapes, locations, weights)
    if wrong:
        raise ValueError("deform_attn: " + "; ".join(wrong))
    args = value, tuple(tuple(s) for s in shapes), locations, weights
    return choose("deform_attn", BACKENDS, *args).run(*args)


def _problems(
    value: Tensor, shapes: Sequence[Sequence[int]], locations: Tensor, weights: Tensor
) -> list[str]:
    wrong = []
    if value.ndim != 4 or locations.ndim != 6:
        return [
            f"value is [B, N, H, C] and locations [B, Q, H, L, P, D], got {list(value.shape)} "
            f"and {list(locations.shape)}"
        ]
    batch, _, heads, levels, _, dims = locations.shape
    if locations.dtype not in (torch.float32, torch.float64):
        wrong.append(f"locations must be float32 or float64, got {locations.dtype}")
    if weights.shape != locations.shape[:5]:
        wrong.append(f"weights are {list(locations.shape[:5])}, got {list(weights.shape)}")
    if (value.shape[0], value.shape[2]) != (batch, heads):
        wrong.append(f"locations have batch {batch} and {heads} heads, value {list(value.shape)}")
    if len(shapes) != levels or any(len(s) != dims for s in shapes):
        wrong.append(f"locations have {levels} levels of {dims} axes, shapes are {list(shapes)}")
    if sum(prod(s) for s in shapes) != value.shape[1]:
        wrong.append(f"shapes {list(shapes)} do not add up to {value.shape[1]} positions")
    return wrong
