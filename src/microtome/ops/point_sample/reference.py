"""Pure PyTorch, written to be read: the definition."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

_MOST_AXES = 3  # of grid_sample


def run(maps: Tensor, points: Tensor, mode: str = "linear") -> Tensor:
    """[B, C, *S] and [B, P, D] -> [B, C, P]."""
    dtype = torch.promote_types(maps.dtype, points.dtype)
    if maps.is_cuda and torch.are_deterministic_algorithms_enabled():
        return by_rows(maps.to(dtype), points.to(dtype), mode).to(maps.dtype)
    grid = grid_sample_order(points.to(dtype))
    flat = maps.to(dtype)
    if points.shape[2] == 1:  # grid_sample begins at two axes: one more, of length 1
        flat, grid = flat[:, :, None], torch.cat([grid, torch.zeros_like(grid)], 2)
    lengths = [1] * (flat.ndim - 3)
    sampled = F.grid_sample(
        flat,
        grid.unflatten(1, (grid.shape[1], *lengths)),  # [B, P, 1…, D]
        mode="bilinear" if mode == "linear" else mode,
        padding_mode="zeros",
        align_corners=False,
    )
    return (sampled.flatten(2) + nan_unless_finite(points.to(dtype))).to(maps.dtype)


def by_rows(maps: Tensor, points: Tensor, mode: str) -> Tensor:
    """The same by picking rows of channels, whose gradient PyTorch adds up in one order.

    That of grid_sample refuses to be deterministic on GPUs.
    """
    batch, channels, *shape = maps.shape
    rows = maps.movedim(1, -1).reshape(-1, channels)
    at = points * points.new_tensor(shape) - 0.5
    at = at.where(at.isfinite(), -9)  # beyond the border
    below = at.round() if mode == "nearest" else at.floor()
    total = rows.new_zeros(batch, points.shape[1], channels)
    for corner in product((0, 1), repeat=len(shape) if mode == "linear" else 0):
        index = torch.arange(batch, device=points.device)[:, None]
        share = points.new_ones(batch, points.shape[1])
        for axis, size in enumerate(shape):
            upper = corner[axis] if corner else 0
            pixel = below[..., axis] + upper
            far = at[..., axis] - below[..., axis] if corner else 0
            inside = (pixel >= 0) & (pixel < size)
            share = share * (far if upper else 1 - far) * inside
            index = index * size + pixel.clamp(0, size - 1).long()
        seen = rows.index_select(0, index.flatten()).view_as(total)
        total = total + seen * share[..., None]
    return total.movedim(-1, 1) + nan_unless_finite(points)


def refusals(maps: Tensor, points: Tensor, mode: str = "linear") -> list[str]:
    """Nothing, up to the axes that grid_sample knows."""
    dims = points.shape[-1]
    return [f"{dims} axes are more than {_MOST_AXES}"] if dims > _MOST_AXES else []


def nan_unless_finite(points: Tensor) -> Tensor:
    """[B, 1, P] of zeros, nan for points that are not finite; so are their gradients then.

    Of those grid_sample makes nan in two dimensions, 0 in three.
    """
    finite = points.isfinite().all(-1, keepdim=True)
    spoil = torch.zeros_like(points).masked_fill(~finite, torch.nan)
    return (points * spoil).sum(-1)[:, None]


def grid_sample_order(points: Tensor) -> Tensor:
    """Array order in 0…1 to grid_sample's x, y, z in -1…1."""
    return 2 * points.flip(-1) - 1
