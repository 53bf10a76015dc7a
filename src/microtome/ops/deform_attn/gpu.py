"""Triton on GPUs: kernels.py, launched by launch.py."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from .. import launching
from .operator import run

__all__ = ["lacking", "refusals", "run", "tolerance"]

# sums in another order, in float32; half precision rounds the answer once
tolerance = {torch.float32: 1e-4, torch.bfloat16: 2**-7, torch.float16: 2**-9}
lacking = launching.lacking()


def refusals(
    value: Tensor,
    shapes: Sequence[Sequence[int]],
    places: Tensor,
    weights: Tensor,
    around: Tensor | None = None,
) -> list[str]:
    """Other devices, dtypes and numbers of axes; levels without a position."""
    reasons = []
    if value.device.type != "cuda":
        reasons.append(f"needs CUDA tensors, got {value.device}")
    if value.dtype not in tolerance:
        reasons.append(f"values of {value.dtype}")
    if any(x is not None and x.dtype != torch.float32 for x in (places, around)):
        reasons.append(f"places of {places.dtype}, not float32")
    if weights.dtype not in tolerance:
        reasons.append(f"weights of {weights.dtype}")
    if places.shape[-1] not in (2, 3):
        reasons.append(f"{places.shape[-1]} axes, not 2 or 3")
    if value.shape[1] >= 2**31 or not all(prod(shape) for shape in shapes):
        reasons.append("2^31 positions, or a level without one")
    return reasons


def _attend(
    value: Tensor, shapes: list[int], places: Tensor, weights: Tensor, around: Tensor | None
) -> Tensor:
    from . import launch

    softmax = around is not None
    samples = launch.Samples(value, shapes, places, weights, around, softmax=softmax)
    return launch.forward(samples)


def _differentiate(
    grad: Tensor,
    value: Tensor,
    shapes: list[int],
    places: Tensor,
    weights: Tensor,
    around: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    from . import launch

    softmax = around is not None
    samples = launch.Samples(value, shapes, places, weights, around, softmax=softmax)
    return launch.backward(grad, samples)


torch.library.impl("microtome::deform_attn", "CUDA", _attend)
torch.library.impl("microtome::deform_attn_backward", "CUDA", _differentiate)
