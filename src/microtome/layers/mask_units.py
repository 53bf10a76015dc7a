"""Tokens grouped by mask unit, nested so that each pooling takes neighbours (Hiera's unroll).

B batch, U mask units, T tokens of a unit, C channels, D axes. `steps` are the poolings per axis,
first to last; a unit holds as many tokens per axis as they multiply to. T runs over the places
within the first step's cells, then the second's, …, so that pooling is a maximum over the front.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor

Steps = Sequence[tuple[int, ...]]


def unrolled(x: Tensor, steps: Steps) -> Tensor:
    """[B, C, *grid] -> [B, U, T, C]."""
    dims, depth = x.ndim - 2, len(steps) + 1
    units = units_of(x.shape[2:], steps)
    # Along one axis [U, last step, …, first step]; in the plane with two steps the grid is
    # [Uy, y2, y1, Ux, x2, x1], and becomes [Uy, Ux, y1, x1, y2, x2].
    split = [n for axis in range(dims) for n in (units[axis], *(s[axis] for s in reversed(steps)))]
    places = [
        axis * depth + level for level in (0, *range(depth - 1, 0, -1)) for axis in range(dims)
    ]
    order = [0, *(2 + place for place in places), 1]
    x = x.reshape(*x.shape[:2], *split).permute(order)
    return x.reshape(len(x), prod(units), -1, x.shape[-1])


def rolled(x: Tensor, steps: Steps, units: Sequence[int]) -> Tensor:
    """[B, U, T, C] with the `steps` that are left -> [B, C, *grid]; the inverse of `unrolled`."""
    dims, depth = len(units), len(steps) + 1
    x = x.reshape(len(x), *units, *(n for step in steps for n in step), x.shape[-1])
    # Axis by axis: the unit, then the last step down to the first.
    levels = (0, *range(depth - 1, 0, -1))
    order = [0, 1 + dims * depth, *(1 + level * dims + a for a in range(dims) for level in levels)]
    grid = [u * prod([s[a] for s in steps]) for a, u in enumerate(units)]
    return x.permute(order).reshape(len(x), -1, *grid)


def units_of(grid: Sequence[int], steps: Steps) -> tuple[int, ...]:
    """Mask units per axis of a grid."""
    return tuple(size // prod([s[axis] for s in steps]) for axis, size in enumerate(grid))
