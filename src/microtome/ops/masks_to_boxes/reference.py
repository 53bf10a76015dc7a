"""Pure PyTorch, written to be read: the definition."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("microtome::masks_to_boxes", mutates_args=())
def run(maps: Tensor, count: int) -> Tensor:
    """[K, *S] -> [N, 2D]; smallest and largest coordinate of each object's pixels.

    An operator, since how many pixels there are hangs on the values.
    """
    if maps.numel() and int(maps.max()) > count:
        raise ValueError(f"a label map holds {int(maps.max())}, but there are only {count} objects")
    dims = maps.ndim - 1
    where = maps.nonzero()  # [P, 1 + D]
    number = maps[tuple(where.T)].long() - 1
    index = number[:, None].expand(-1, dims)
    at = where[:, 1:]
    none = torch.iinfo(torch.int64).max
    low = at.new_full((count, dims), none).scatter_reduce(0, index, at, "amin")
    high = at.new_full((count, dims), -1).scatter_reduce(0, index, at, "amax") + 1
    return torch.where((high > 0).repeat(1, 2), torch.cat([low, high], 1), 0)


@run.register_fake
def _(maps: Tensor, count: int) -> Tensor:
    return maps.new_empty(count, 2 * (maps.ndim - 1), dtype=torch.int64)


def refusals(maps: Tensor, count: int) -> list[str]:
    """Nothing."""
    return []
