"""The operator behind the compiled backends: what they take, schema, shapes, gradient."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..limits import Limits, of_axes

_ARGUMENTS = (
    "Tensor value, Tensor offsets, Tensor modulation, int[] kernel_size, int[] stride, "
    "int[] padding, int[] dilation, bool softmax"
)

torch.library.define("microtome::deform_conv", f"({_ARGUMENTS}) -> Tensor")
torch.library.define(
    "microtome::deform_conv_backward", f"(Tensor grad, {_ARGUMENTS}) -> (Tensor, Tensor, Tensor)"
)


def run(
    value: Tensor,
    offsets: Tensor,
    modulation: Tensor,
    lattice: Sequence[Sequence[int]],
    softmax: bool = False,
) -> Tensor:
    """[B, *S, G, C] -> [B, *O, G, C], by the kernel of the tensors' device."""
    out: Tensor = torch.ops.microtome.deform_conv(value, offsets, modulation, *lattice, softmax)
    return out


def refused(
    limits: Limits,
    value: Tensor,
    offsets: Tensor,
    modulation: Tensor,
    lattice: Sequence[Sequence[int]],
    softmax: bool = False,
) -> list[str]:
    """Reasons against devices, dtypes and numbers of axes, and values without a pixel."""
    reasons = [
        *limits.of_values(value, "values"),
        *limits.of_places(value, "offsets", offsets),
        *limits.of_weights(value, modulation, "modulation"),
        *of_axes(offsets.shape[-1], (2, 3)),
    ]
    if not 0 < prod(value.shape[1:-2]) < 2**31:
        reasons.append("a value without a pixel, or with 2^31")
    return reasons


def _shape(value: Tensor, offsets: Tensor, *rest: Any) -> Tensor:
    return value.new_empty(*offsets.shape[:-2], value.shape[-1])


def _shapes_of_gradients(
    grad: Tensor, value: Tensor, offsets: Tensor, modulation: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in (value, offsets, modulation))


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.rest = inputs[3:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    gradients = torch.ops.microtome.deform_conv_backward(grad, *ctx.saved_tensors, *ctx.rest)
    return *gradients, *(None for _ in ctx.rest)


torch.library.register_fake("microtome::deform_conv", _shape)
torch.library.register_fake("microtome::deform_conv_backward", _shapes_of_gradients)
torch.library.register_autograd("microtome::deform_conv", _backward, setup_context=_remember)
