"""The operator behind the compiled backend: schema, shapes and gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

torch.library.define(
    "microtome::point_sample", "(Tensor maps, Tensor points, bool nearest) -> Tensor"
)
torch.library.define(
    "microtome::point_sample_backward",
    "(Tensor grad, Tensor points, SymInt[] shape, bool nearest) -> Tensor",
)
torch.library.define(
    "microtome::point_sample_backward_points",
    "(Tensor grad, Tensor maps, Tensor points, bool nearest) -> Tensor",
)


def run(maps: Tensor, points: Tensor, mode: str = "linear") -> Tensor:
    """[B, C, *S] and [B, P, D] -> [B, C, P], by the kernel of the tensors' device."""
    out: Tensor = torch.ops.microtome.point_sample(maps, points, mode == "nearest")
    return out


def _shape(maps: Tensor, points: Tensor, nearest: bool) -> Tensor:
    return maps.new_empty(maps.shape[0], maps.shape[1], points.shape[1])


def _shape_by_maps(grad: Tensor, points: Tensor, shape: list[int], nearest: bool) -> Tensor:
    return grad.new_empty(shape)


def _shape_by_points(grad: Tensor, maps: Tensor, points: Tensor, nearest: bool) -> Tensor:
    return points.new_empty(points.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    maps, points, ctx.nearest = inputs
    ctx.shape = maps.shape
    ctx.save_for_backward(points, maps if ctx.needs_input_grad[1] else None)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    points, maps = ctx.saved_tensors
    backward, backward_points = (
        torch.ops.microtome.point_sample_backward,
        torch.ops.microtome.point_sample_backward_points,
    )
    by_maps = by_points = None
    if ctx.needs_input_grad[0]:
        by_maps = backward(grad, points, ctx.shape, ctx.nearest)
    if maps is not None:
        by_points = backward_points(grad, maps, points, ctx.nearest)
    return by_maps, by_points, None


torch.library.register_fake("microtome::point_sample", _shape)
torch.library.register_fake("microtome::point_sample_backward", _shape_by_maps)
torch.library.register_fake("microtome::point_sample_backward_points", _shape_by_points)
torch.library.register_autograd("microtome::point_sample", _backward, setup_context=_remember)
