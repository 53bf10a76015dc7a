"""Triton on GPUs: kernels.py, launched by launch.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import launching
from ..limits import GPU
from .operator import refused, run

__all__ = ["lacking", "refusals", "run", "tolerance"]

tolerance = GPU.tolerance
lacking = launching.lacking()


def refusals(*args: Any) -> list[str]:
    """Other devices, dtypes and numbers of axes; levels without a position."""
    return refused(GPU, *args)


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
