"""Grids of tokens cut into windows, in any number of axes.

B batch, C channels, D axes, W windows of one grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor
from torch.nn import functional as F

from ..geometry import round_up, window


def windowed(x: Tensor, size: Sequence[int]) -> Tensor:
    """[B, *grid, C] -> [B * W, prod(size), C]; zeros fill the last windows of an axis."""
    dims, grid = len(size), x.shape[1:-1]
    full = round_up(grid, size)
    ends = [n for f, g in zip(reversed(full), reversed(grid), strict=True) for n in (0, f - g)]
    x = F.pad(x, [0, 0, *ends])
    split = [n for f, s in zip(full, size, strict=True) for n in (f // s, s)]
    # In the plane [B, Hw, h, Ww, w, C] -> [B, Hw, Ww, h, w, C].
    order = [0, *range(1, 2 * dims, 2), *range(2, 2 * dims + 1, 2), 2 * dims + 1]
    return x.view(len(x), *split, -1).permute(order).reshape(-1, prod(size), x.shape[-1])


def unwindowed(x: Tensor, size: Sequence[int], grid: Sequence[int]) -> Tensor:
    """The inverse of `windowed`: [B * W, prod(size), C] -> [B, *grid, C]."""
    dims, full = len(size), round_up(grid, size)
    counts = [f // s for f, s in zip(full, size, strict=True)]
    order = [0, *(n for axis in range(dims) for n in (1 + axis, 1 + dims + axis)), 2 * dims + 1]
    x = x.view(-1, *counts, *size, x.shape[-1]).permute(order).reshape(-1, *full, x.shape[-1])
    return x[(slice(None), *window(grid))]
