"""Triton on GPUs: kernels.py, launched by launch.py."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from .. import launching
from ..limits import GPU, of_axes
from .operator import run

__all__ = ["lacking", "refusals", "run", "tolerance"]

tolerance = GPU.tolerance
lacking = launching.lacking()


def refusals(
    value: Tensor,
    shapes: Sequence[Sequence[int]],
    places: Tensor,
    weights: Tensor,
    around: Tensor | None = None,
) -> list[str]:
    """Other devices, dtypes and numbers of axes; levels without a position."""
    reasons = [
        *GPU.of_values(value, "values"),
        *GPU.of_places(value, "places", places, around),
        *GPU.of_weights(value, weights, "weights"),
        *of_axes(places.shape[-1], (2, 3)),
    ]
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
