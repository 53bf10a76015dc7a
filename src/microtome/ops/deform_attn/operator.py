"""The operator behind the compiled backends: what they take, schema, shapes, gradient.

`places` and `weights` are locations and weights, or, with reference points `around`, offsets in
pixels and logits. `shapes` is flat, L * D numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..limits import Limits, of_axes

_ARGUMENTS = "Tensor value, SymInt[] shapes, Tensor places, Tensor weights, Tensor? around"

torch.library.define("microtome::deform_attn", f"({_ARGUMENTS}) -> Tensor")
torch.library.define(
    "microtome::deform_attn_backward", f"(Tensor grad, {_ARGUMENTS}) -> (Tensor, Tensor, Tensor)"
)


def run(
    value: Tensor,
    shapes: Sequence[Sequence[int]],
    places: Tensor,
    weights: Tensor,
    around: Tensor | None = None,
) -> Tensor:
    """[B, N, H, C] -> [B, Q, H, C], by the kernel of the tensors' device."""
    flat = [size for shape in shapes for size in shape]
    out: Tensor = torch.ops.microtome.deform_attn(value, flat, places, weights, around)
    return out


def refused(
    limits: Limits,
    value: Tensor,
    shapes: Sequence[Sequence[int]],
    places: Tensor,
    weights: Tensor,
    around: Tensor | None = None,
) -> list[str]:
    """Reasons against devices, dtypes and numbers of axes, and levels without a position."""
    reasons = [
        *limits.of_values(value, "values"),
        *limits.of_places(value, "places", places, around),
        *limits.of_weights(value, weights, "weights"),
        *of_axes(places.shape[-1], (2, 3)),
    ]
    if value.shape[1] >= 2**31 or not all(prod(shape) for shape in shapes):
        reasons.append("2^31 positions, or a level without one")
    return reasons


def _shape(
    value: Tensor, shapes: list[int], places: Tensor, weights: Tensor, around: Tensor | None
) -> Tensor:
    batch, queries, heads = places.shape[:3]
    return value.new_empty(batch, queries, heads, value.shape[3])


def _shapes_of_gradients(
    grad: Tensor,
    value: Tensor,
    shapes: list[int],
    places: Tensor,
    weights: Tensor,
    around: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(x.new_empty(x.shape) for x in (value, places, weights))  # type: ignore[return-value]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    value, ctx.shapes, places, weights, around = inputs
    ctx.save_for_backward(value, places, weights, around)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    value, places, weights, around = ctx.saved_tensors
    by_value, by_places, by_weights = torch.ops.microtome.deform_attn_backward(
        grad, value, ctx.shapes, places, weights, around
    )
    by_around = None
    if around is not None and ctx.needs_input_grad[4]:
        levels, dims = around.shape[2:]
        pixels = torch.tensor(ctx.shapes, dtype=around.dtype, device=around.device)
        by_around = by_places.sum((2, 4)) * pixels.view(levels, dims)  # [B, Q, L, D]
        by_around = by_around.sum_to_size(around.shape)
    return by_value, None, by_places, by_weights, by_around


torch.library.register_fake("microtome::deform_attn", _shape)
torch.library.register_fake("microtome::deform_attn_backward", _shapes_of_gradients)
torch.library.register_autograd("microtome::deform_attn", _backward, setup_context=_remember)
