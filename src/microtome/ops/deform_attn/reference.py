"""Pure PyTorch, written to be read: the definition."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from ..point_sample import reference as sampling


def run(
    value: Tensor, shapes: Sequence[Sequence[int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """[B, N, H, C] at [B, Q, H, L, P, D] -> [B, Q, H, C]."""
    batch, _, heads, channels = value.shape
    _, queries, _, _, count, dims = locations.shape
    dtype = torch.promote_types(value.dtype, locations.dtype)
    total = value.new_zeros(batch, heads, channels, queries, dtype=dtype)
    levels = value.to(dtype).split([prod(s) for s in shapes], 1)
    for level, (part, shape) in enumerate(zip(levels, shapes, strict=True)):
        maps = part.permute(0, 2, 3, 1).reshape(batch * heads, channels, *shape)
        points = locations[:, :, :, level].transpose(1, 2)  # [B, H, Q, P, D]
        points = points.reshape(batch * heads, queries * count, dims)
        sampled = sampling.run(maps, points).view(batch, heads, channels, queries, count)
        total = total + (sampled * weights[:, :, :, level].transpose(1, 2)[:, :, None]).sum(-1)
    return total.permute(0, 3, 1, 2).to(value.dtype)


def refusals(
    value: Tensor, shapes: Sequence[Sequence[int]], locations: Tensor, weights: Tensor
) -> list[str]:
    """Those of the sampling."""
    return sampling.refusals(value, locations)
