"""Triton on GPUs: the kernels of deformable attention, with one level and taps for points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import launching
from ..limits import GPU
from .operator import refused, run

if TYPE_CHECKING:
    from ..deform_attn.launch import Samples

__all__ = ["lacking", "refusals", "run", "tolerance"]

tolerance = GPU.tolerance
lacking = launching.lacking()


def refusals(*args: Any) -> list[str]:
    """Other devices, dtypes and numbers of axes; values without a pixel."""
    return refused(GPU, *args)


def samples(
    value: Tensor,
    offsets: Tensor,
    modulation: Tensor,
    lattice: Sequence[Sequence[int]],
    softmax: bool,
) -> Samples:
    """Pixels and places in a row, one level."""
    from ..deform_attn.launch import Samples

    dims = offsets.shape[-1]
    return Samples(
        value.flatten(1, dims),
        value.shape[1 : 1 + dims],
        offsets.flatten(1, dims)[:, :, :, None],
        modulation.flatten(1, dims)[:, :, :, None],
        lattice=[offsets.shape[1 : 1 + dims], *lattice],
        softmax=softmax,
    )


def _convolve(
    value: Tensor,
    offsets: Tensor,
    modulation: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    softmax: bool,
) -> Tensor:
    from ..deform_attn import launch

    lattice = kernel_size, stride, padding, dilation
    out = launch.forward(samples(value, offsets, modulation, lattice, softmax))
    return out.view(*offsets.shape[:-2], value.shape[-1])


def _differentiate(
    grad: Tensor,
    value: Tensor,
    offsets: Tensor,
    modulation: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    softmax: bool,
) -> tuple[Tensor, ...]:
    from ..deform_attn import launch

    lattice = kernel_size, stride, padding, dilation
    flat = samples(value, offsets, modulation, lattice, softmax)
    gradients = launch.backward(grad.flatten(1, offsets.shape[-1]), flat)
    inputs = value, offsets, modulation
    return tuple(g.view(x.shape) for g, x in zip(gradients, inputs, strict=True))


torch.library.impl("microtome::deform_conv", "CUDA", _convolve)
torch.library.impl("microtome::deform_conv_backward", "CUDA", _differentiate)
