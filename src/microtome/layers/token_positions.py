"""Positions that attention sees, beside those that are added to tokens; any number of axes.

B batch, H heads, N tokens, C channels of a head, D axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEMPERATURE = 10_000.0


def rotary_positions(
    shape: Sequence[int], channels: int, device: torch.device | None = None
) -> Tensor:
    """Angles [N, C / 2] of a grid's cells (Su et al., RoFormer, 2021), an equal share per axis.

    A share holds the cell's number along the axis at frequencies from 1 down; what the shares
    leave is not turned.
    """
    share = channels // (2 * len(shape))
    rate = TEMPERATURE ** -(torch.arange(share, device=device) / max(share, 1))
    axes = [torch.arange(s, device=device, dtype=torch.float32) for s in shape]
    where = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)  # [N, D]
    angles = (where[..., None] * rate).flatten(1)
    return F.pad(angles, (0, channels // 2 - angles.shape[1]))


def rotated(x: Tensor, angles: Tensor) -> Tensor:
    """Turn neighbouring pairs of channels of [B, H, T, C] by angles [(B, 1,) N, C / 2].

    The first T - N tokens, which have no place, are not turned.
    """
    prefix = x.shape[2] - angles.shape[-2]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    one, other = x[:, :, prefix:].unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([one * cos - other * sin, other * cos + one * sin], -1).flatten(-2)
    return torch.cat([x[:, :, :prefix], turned], 2)


class RelativePositions(nn.Module):
    """Learnt answers of queries to distances, a table per axis (Li et al., MViTv2, CVPR 2022).

    Args:
        channels: C.
        grid: the tokens per axis that the tables are for; other grids resample them.
    """

    def __init__(self, channels: int, grid: Sequence[int]) -> None:
        super().__init__()
        self.tables = nn.ParameterList(
            nn.Parameter(torch.zeros(2 * size - 1, channels)) for size in grid
        )

    def forward(self, query: Tensor, grid: Sequence[int]) -> Tensor:
        """Queries [B, H, N, C] on a grid -> what is added to their attention, [B, H, N, N]."""
        dims, lead = len(grid), query.shape[:2]
        query = query.unflatten(2, tuple(grid))
        total = query.new_zeros(1)
        for axis, (table, size) in enumerate(zip(self.tables, grid, strict=True)):
            rows = _between(table, size)  # [S, S, C]
            answers = torch.einsum("...sc,skc->...sk", query.movedim(2 + axis, -2), rows)
            keys = [size if other == axis else 1 for other in range(dims)]
            total = total + answers.movedim(-2, 2 + axis).unflatten(-1, keys)
        return total.expand(*lead, *grid, *grid).reshape(*lead, prod(grid), prod(grid))


def _between(table: Tensor, size: int) -> Tensor:
    """[S, S, C] for each query and key along an axis of S tokens."""
    if len(table) != 2 * size - 1:
        table = F.interpolate(table.T[None], 2 * size - 1, mode="linear")[0].T
    places = torch.arange(size, device=table.device)
    return table[places[:, None] - places + size - 1]
