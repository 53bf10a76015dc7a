"""Pure PyTorch, written to be read: the definition."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from ..point_sample import reference as sampling


def run(
    value: Tensor,
    shapes: Sequence[Sequence[int]],
    places: Tensor,
    weights: Tensor,
    around: Tensor | None = None,
) -> Tensor:
    """[B, N, H, C] -> [B, Q, H, C]; `places` and `weights` as in `operator`."""
    locations = places
    if around is not None:
        pixels = torch.tensor(shapes, dtype=places.dtype, device=places.device)  # [L, D]
        locations = around[:, :, None, :, None] + places / pixels[:, None]
        exact = torch.promote_types(weights.dtype, torch.float32)
        weights = weights.flatten(3).to(exact).softmax(3).view(weights.shape)
    return _sum_of_samples(value, shapes, locations, weights)


def _sum_of_samples(
    value: Tensor, shapes: Sequence[Sequence[int]], locations: Tensor, weights: Tensor
) -> Tensor:
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
    value: Tensor,
    shapes: Sequence[Sequence[int]],
    places: Tensor,
    weights: Tensor,
    around: Tensor | None = None,
) -> list[str]:
    """Those of the sampling."""
    return sampling.refusals(value, places)
