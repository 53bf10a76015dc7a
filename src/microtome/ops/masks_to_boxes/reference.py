"""Pure PyTorch, written to be read: the definition."""

from __future__ import annotations

import torch
from torch import Tensor

from .operator import shape


@torch.library.custom_op("microtome::masks_to_boxes_reference", mutates_args=())
def run(maps: Tensor, count: int) -> Tensor:
    """[K, *S] -> [N, 2D]; smallest and largest coordinate of each object's pixels.

    An operator, since how many pixels there are hangs on the values.
    """
    least, most = (int(x) for x in maps.aminmax()) if maps.numel() else (0, 0)
    if most > count:
        raise ValueError(f"a label map holds {most}, but there are only {count} objects")
    if least < 0:
        raise ValueError(f"a label map holds {least}, below 0")
    dims = maps.ndim - 1
    where = maps.nonzero()  # [P, 1 + D]
    number = maps[tuple(where.T)].long() - 1
    index = number[:, None].expand(-1, dims)
    at = where[:, 1:]
    none = torch.iinfo(torch.int64).max
    low = at.new_full((count, dims), none).scatter_reduce(0, index, at, "amin")
    high = at.new_full((count, dims), -1).scatter_reduce(0, index, at, "amax") + 1
    return torch.where((high > 0).repeat(1, 2), torch.cat([low, high], 1), 0)


run.register_fake(shape)


def refusals(maps: Tensor, count: int) -> list[str]:
    """Nothing."""
    return []
