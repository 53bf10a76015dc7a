"""Maps of another size whose values must not be mixed."""

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
