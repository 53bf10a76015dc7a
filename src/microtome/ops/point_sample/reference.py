"""Pure PyTorch, written to be read: the definition."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_MOST_AXES = 3  # of grid_sample


def run(maps: Tensor, points: Tensor, mode: str = "linear") -> Tensor:
    """[B, C, *S] and [B, P, D] -> [B, C, P]."""
    dtype = torch.promote_types(maps.dtype, points.dtype)
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
