"""Pure PyTorch, written to be read: the definition."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor


def run(
    maps: Tensor,
    boxes: Tensor,
    image_index: Tensor,
    output: Sequence[int],
    stride: Sequence[float],
    samples: int,
) -> Tensor:
    """[B, C, *S] and [N, 2D] -> [N, C, *output]."""
    dims, shape = len(output), maps.shape[2:]
    dtype = torch.promote_types(maps.dtype, torch.float32)
    rows = maps.to(dtype).movedim(1, -1).flatten(0, -2)  # one row of channels per pixel
    axes = [
        along(
            boxes[:, axis], boxes[:, dims + axis], shape[axis], output[axis], stride[axis], samples
        )
        for axis in range(dims)
    ]
    total = rows.new_zeros(len(boxes), *[size * samples for size in output], maps.shape[1])
    for corner in product((0, 1), repeat=dims):
        index = image_index.long().view(-1, *[1] * dims)
        weight = boxes.new_ones([1] * (dims + 1))
        for axis, side in enumerate(corner):
            spread = [len(boxes), *[1] * dims]
            spread[1 + axis] = output[axis] * samples
            pixels, weights = axes[axis]
            index = index * shape[axis] + pixels[side].view(spread)
            weight = weight * weights[side].view(spread)
        corners = rows.index_select(0, index.flatten()).view(*index.shape, maps.shape[1])
        total = total + corners * weight[..., None].to(dtype)
    for axis in reversed(range(dims)):
        total = total.unflatten(1 + axis, (output[axis], samples)).mean(2 + axis)
    total = total.to(maps.dtype).movedim(-1, 1)
    return total if channels_last(maps) else total.contiguous()


def channels_last(maps: Tensor) -> bool:
    """Whether the channels of a pixel lie side by side; the answer's then do, too."""
    return maps.movedim(1, -1).is_contiguous() and not maps.is_contiguous()


def along(
    low: Tensor, high: Tensor, size: int, cells: int, stride: float, samples: int
) -> tuple[Tensor, Tensor]:
    """Both pixels beside each sample on one axis, and their weights: two [2, N, cells x samples].

    Pixel i has its centre at i + 0.5 strides.
    """
    steps = torch.arange(cells * samples, device=low.device, dtype=low.dtype) + 0.5
    length = (high - low)[:, None] / stride / cells
    at = low[:, None] / stride - 0.5 + length * steps / samples
    seen = (at >= -1) & (at <= size)
    at = at.where(seen, 0).clamp(0, size - 1)
    first = at.floor().long()
    far = at - first
    pixels = torch.stack([first, (first + 1).clamp(max=size - 1)])
    return pixels, torch.stack([1 - far, far]) * seen


def refusals(maps: Tensor, *others: Any) -> list[str]:
    """Nothing."""
    return []
