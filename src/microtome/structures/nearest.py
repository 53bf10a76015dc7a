"""Maps whose values must not be mixed, at another size or at points: the nearest pixel's."""

from __future__ import annotations

import torch
from torch import Tensor

from ..geometry import Shape


def nearest(maps: Tensor, shape: Shape) -> Tensor:
    """Maps [N, *S] of any dtype at [N, *shape], each pixel from the nearest centre.

    As PyTorch's `nearest-exact`, which knows few dtypes and three axes at most.
    """
    for axis, (have, want) in enumerate(zip(maps.shape[1:], shape, strict=True), start=1):
        at = (torch.arange(want, device=maps.device) + 0.5) * (have / want)
        maps = maps.index_select(axis, at.long().clamp(max=have - 1))
    return maps


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Values [K, P] of maps [K, *S] of any dtype at points [P, D], 0…1 from border to border.

    Points beyond the border have the value of the border.
    """
    flat = torch.zeros(len(points), dtype=torch.long, device=points.device)
    for axis, size in enumerate(maps.shape[1:]):
        flat = flat * size + (points[:, axis] * size).long().clamp(0, size - 1)
    return maps.flatten(1)[:, flat]
