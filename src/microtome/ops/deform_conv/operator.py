"""The operator behind the compiled backends: schema, shapes and gradient, for any device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

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
