"""The operator behind the compiled backend: schema, shapes and gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .reference import exact

torch.library.define(
    "microtome::box_iou", "(Tensor boxes, Tensor others, bool generalised) -> Tensor"
)
torch.library.define(  # by `boxes`; by `others` with everything the other way round
    "microtome::box_iou_backward",
    "(Tensor grad, Tensor boxes, Tensor others, bool generalised) -> Tensor",
)


def run(boxes: Tensor, others: Tensor, kind: str = "iou") -> Tensor:
    """[N, 2D] and [M, 2D] -> [N, M], by the kernel of the tensors' device."""
    dtype = exact(boxes, others)
    out: Tensor = torch.ops.microtome.box_iou(boxes.to(dtype), others.to(dtype), kind == "giou")
    return out


def _shape(boxes: Tensor, others: Tensor, generalised: bool) -> Tensor:
    return boxes.new_empty(boxes.shape[0], others.shape[0])


def _shape_by_boxes(grad: Tensor, boxes: Tensor, others: Tensor, generalised: bool) -> Tensor:
    return boxes.new_empty(boxes.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    boxes, others, ctx.generalised = inputs
    ctx.save_for_backward(boxes, others)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    boxes, others = ctx.saved_tensors
    backward = torch.ops.microtome.box_iou_backward
    by_boxes = by_others = None
    if ctx.needs_input_grad[0]:
        by_boxes = backward(grad, boxes, others, ctx.generalised)
    if ctx.needs_input_grad[1]:
        by_others = backward(grad.T, others, boxes, ctx.generalised)
    return by_boxes, by_others, None


torch.library.register_fake("microtome::box_iou", _shape)
torch.library.register_fake("microtome::box_iou_backward", _shape_by_boxes)
torch.library.register_autograd("microtome::box_iou", _backward, setup_context=_remember)
