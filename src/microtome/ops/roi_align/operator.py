"""The operator behind the compiled backends: schema, shapes and gradient, for any device.

Its maps and answers are contiguous: [B, C, *S] and [N, C, *output], or, where `last`, with the
channels behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .reference import channels_last

_BOXES = "Tensor boxes, Tensor image_index"
_HOW = "float[] stride, int samples, bool last"

torch.library.define(
    "microtome::roi_align", f"(Tensor maps, {_BOXES}, SymInt[] output, {_HOW}) -> Tensor"
)
torch.library.define(
    "microtome::roi_align_backward", f"(Tensor grad, {_BOXES}, SymInt[] shape, {_HOW}) -> Tensor"
)


def run(
    maps: Tensor,
    boxes: Tensor,
    image_index: Tensor,
    output: Sequence[int],
    stride: Sequence[float],
    samples: int,
) -> Tensor:
    """[B, C, *S] and [N, 2D] -> [N, C, *output], by the kernel of the tensors' device."""
    last = channels_last(maps)
    given = maps.movedim(1, -1) if last else maps
    out: Tensor = torch.ops.microtome.roi_align(
        given, boxes, image_index.long(), output, stride, samples, last
    )
    return out.movedim(-1, 1) if last else out


def _shape(
    maps: Tensor,
    boxes: Tensor,
    image_index: Tensor,
    output: list[int],
    stride: list[float],
    samples: int,
    last: bool,
) -> Tensor:
    if last:
        return maps.new_empty(len(boxes), *output, maps.shape[-1])
    return maps.new_empty(len(boxes), maps.shape[1], *output)


def _shape_of_gradient(
    grad: Tensor,
    boxes: Tensor,
    image_index: Tensor,
    shape: list[int],
    stride: list[float],
    samples: int,
    last: bool,
) -> Tensor:
    return grad.new_empty(shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    maps, boxes, image_index, _, *ctx.how = inputs
    ctx.shape = maps.shape
    ctx.save_for_backward(boxes, image_index)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    boxes, image_index = ctx.saved_tensors
    by_maps = torch.ops.microtome.roi_align_backward(grad, boxes, image_index, ctx.shape, *ctx.how)
    return by_maps, *[None] * 6


torch.library.register_fake("microtome::roi_align", _shape)
torch.library.register_fake("microtome::roi_align_backward", _shape_of_gradient)
torch.library.register_autograd("microtome::roi_align", _backward, setup_context=_remember)
