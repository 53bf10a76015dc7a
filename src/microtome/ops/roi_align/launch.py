"""Launches the Triton kernels of RoIAlign."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from . import kernels

_BLOCK = 256  # channels of a program, at most


def forward(
    maps: Tensor,
    boxes: Tensor,
    image_index: Tensor,
    output: Sequence[int],
    stride: Sequence[float],
    samples: int,
    last: bool,
) -> Tensor:
    """As the operator says: channels in front, or behind where `last`."""
    _refuse_images(image_index, len(maps))
    rows = (maps if last else maps.movedim(1, -1)).contiguous()
    out = rows.new_empty(len(boxes), *output, rows.shape[-1])
    if out.numel():
        tensors = rows, _three_axes(boxes), image_index.contiguous(), out
        _launch(kernels.forward, tensors, rows.shape, output, stride, samples)
    return out if last else out.movedim(-1, 1).contiguous()


def backward(
    grad: Tensor,
    boxes: Tensor,
    image_index: Tensor,
    shape: Sequence[int],
    stride: Sequence[float],
    samples: int,
    last: bool,
) -> Tensor:
    """Gradient by the maps; many cells add to one pixel in no fixed order.

    Where deterministic algorithms are asked for, they add integers, whose sum does not depend on
    it.
    """
    _refuse_images(image_index, shape[0])
    rows = (grad if last else grad.movedim(1, -1)).contiguous()
    rows_shape = tuple(shape) if last else (shape[0], *shape[2:], shape[1])
    exact = torch.are_deterministic_algorithms_enabled()
    dtype = torch.int64 if exact else torch.float32
    total = torch.zeros(rows_shape, dtype=dtype, device=grad.device)
    scale = _scale(rows) if exact else rows.new_ones((), dtype=torch.float64)
    if grad.numel():
        tensors = rows, _three_axes(boxes), image_index.contiguous(), total, scale
        output = rows.shape[1:-1]
        _launch(kernels.backward, tensors, rows_shape, output, stride, samples, EXACT=exact)
    by_maps = (total / scale if exact else total).to(grad.dtype)
    return by_maps if last else by_maps.movedim(-1, 1).contiguous()


def _launch(
    kernel: Any,
    tensors: Sequence[Tensor],
    rows_shape: Sequence[int],
    output: Sequence[int],
    stride: Sequence[float],
    samples: int,
    **constants: Any,
) -> None:
    channels, front = rows_shape[-1], 3 - len(output)
    block = min(_BLOCK, 1 << max(channels - 1, 0).bit_length())
    count = len(tensors[0]) if kernel is kernels.backward else len(tensors[3])
    with torch.cuda.device_of(tensors[0]):
        kernel[(count * prod(output), -(-channels // block))](
            *tensors,
            channels,
            (1,) * front + tuple(rows_shape[1:-1]),
            (1,) * front + tuple(output),
            (1.0,) * front + tuple(stride),
            (1,) * front + (samples,) * len(output),
            (1,) * front + (2 * samples,) * len(output),
            BLOCK=block,
            enable_fp_fusion=True,
            **constants,
        )


def _refuse_images(index: Tensor, count: int) -> None:
    """The device itself stops before memory is touched that is not the maps': nothing waits."""
    known = ((index >= 0) & (index < count)).all()
    torch._assert_async(known, f"roi_align: image_index must be 0 to {count - 1}")


def _three_axes(boxes: Tensor) -> Tensor:
    """[N, 6]; axes that are not there go from 0 to 1."""
    low, high = boxes.float().chunk(2, 1)
    front = low.new_zeros(len(low), 3 - low.shape[1])
    return torch.cat([front, low, front + 1, high], 1).contiguous()


def _scale(grad: Tensor) -> Tensor:
    """The power of two by which sums fit into 62 bits; nan where they are not finite."""
    bound = grad.double().abs().sum() if grad.numel() else grad.new_zeros((), dtype=torch.float64)
    exponent = torch.frexp(bound).exponent
    scale = torch.ldexp(torch.ones_like(bound), (62 - exponent).clamp(max=1000))
    return torch.where(bound.isfinite(), scale, torch.nan)
