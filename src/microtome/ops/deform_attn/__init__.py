"""Multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021), any number of axes.

Letters: B batch, N positions of all levels, H heads, C channels of a head, Q queries, L levels,
P points, D axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from ..backend import Backend, choose
from . import cpu, gpu, reference

__all__ = ["BACKENDS", "deform_attn", "deform_attn_around"]

BACKENDS = (
    Backend("gpu", gpu.run, gpu.refusals, gpu.tolerance, gpu.lacking),
    Backend("cpu", cpu.run, cpu.refusals, cpu.tolerance, cpu.lacking),
    Backend("reference", reference.run, reference.refusals, {}),
)


def deform_attn(
    value: Tensor, shapes: Sequence[Sequence[int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """Sum a few weighted samples of all levels for each query and head.

    A location or weight that is not finite makes the answer nan or infinite, wherever it lies, and
    which of the two depends on the backend: corners are weighted one by one or together. So are the
    gradients of a location like that, of all its axes and its weight; the value gets none.

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
    _check(_problems(value, shapes, locations, weights))
    args = value, tuple(tuple(s) for s in shapes), locations, weights
    return choose("deform_attn", BACKENDS, *args).run(*args)


def deform_attn_around(
    value: Tensor,
    shapes: Sequence[Sequence[int]],
    reference_points: Tensor,
    offsets: Tensor,
    logits: Tensor,
) -> Tensor:
    """Do the same from what a layer predicts: locations and softmax stay inside the operator.

    A sample lies at its reference point plus its offset; the weights are the softmax of the logits
    over all samples of a query and head.

    Args:
        value: [B, N, H, C], as in `deform_attn`.
        shapes: the spatial shape of each level.
        reference_points: [B or 1, Q, L, D] array order, 0…1, float32 or float64.
        offsets: [B, Q, H, L, P, D] in pixels of each level, of the same dtype.
        logits: [B, Q, H, L, P].

    Returns:
        [B, Q, H, C], of the value's dtype.

    Raises:
        ValueError: shapes or dtypes do not fit, or every backend refuses; all reasons are listed.
    """
    wrong = _problems(value, shapes, offsets, logits, "offsets", "logits")
    _check(wrong or _problems_of_points(reference_points, offsets))
    args = value, tuple(tuple(s) for s in shapes), offsets, logits, reference_points
    return choose("deform_attn", BACKENDS, *args).run(*args)


def _check(wrong: list[str]) -> None:
    if wrong:
        raise ValueError("deform_attn: " + "; ".join(wrong))


def _problems(
    value: Tensor,
    shapes: Sequence[Sequence[int]],
    places: Tensor,
    weights: Tensor,
    name: str = "locations",
    weights_name: str = "weights",
) -> list[str]:
    wrong = []
    if value.ndim != 4 or places.ndim != 6:
        return [
            f"value is [B, N, H, C] and {name} [B, Q, H, L, P, D], got {list(value.shape)} "
            f"and {list(places.shape)}"
        ]
    batch, _, heads, levels, _, dims = places.shape
    if places.dtype not in (torch.float32, torch.float64):
        wrong.append(f"{name} must be float32 or float64, got {places.dtype}")
    if weights.shape != places.shape[:5]:
        wrong.append(f"{weights_name} are {list(places.shape[:5])}, got {list(weights.shape)}")
    if (value.shape[0], value.shape[2]) != (batch, heads):
        wrong.append(f"{name} have batch {batch} and {heads} heads, value {list(value.shape)}")
    if len(shapes) != levels or any(len(s) != dims for s in shapes):
        wrong.append(f"{name} have {levels} levels of {dims} axes, shapes are {list(shapes)}")
    if any(size < 1 for shape in shapes for size in shape):
        wrong.append(f"sizes of levels are at least 1, got {list(shapes)}")
    if sum(prod(s) for s in shapes) != value.shape[1]:
        wrong.append(f"shapes {list(shapes)} do not add up to {value.shape[1]} positions")
    return wrong


def _problems_of_points(points: Tensor, offsets: Tensor) -> list[str]:
    batch, queries, _, levels, _, dims = offsets.shape
    wrong = []
    if points.dtype != offsets.dtype:
        wrong.append(f"reference points are {points.dtype}, offsets {offsets.dtype}")
    if points.ndim != 4 or points.shape[0] not in (1, batch):
        wrong.append(f"reference points are [{batch} or 1, Q, L, D], got {list(points.shape)}")
    elif points.shape[1:] != (queries, levels, dims):
        expected = [queries, levels, dims]
        wrong.append(f"reference points end in {expected}, got {list(points.shape)}")
    return wrong
