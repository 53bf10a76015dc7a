"""Linear resizing of maps with any number of spatial axes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..geometry import Shape


def resized(maps: Tensor, shape: Shape) -> Tensor:
    """Resize maps [C, *S] to [C, *shape]: linear between pixel centres, antialiased when shrinking.

    One axis after the other, since PyTorch's antialiasing knows two axes only.
    """
    for axis, size in enumerate(shape, start=1):
        if maps.shape[axis] != size:
            maps = _along(maps, axis, size)
    return maps


def _along(maps: Tensor, axis: int, size: int) -> Tensor:
    # The axis goes last: with a last axis of one pixel, PyTorch's result is wrong.
    lines = maps.movedim(axis, -1)
    flat = lines.reshape(1, -1, 1, lines.shape[-1]).contiguous()
    found = F.interpolate(flat, (1, size), mode="bilinear", antialias=True)
    return found.reshape(*lines.shape[:-1], size).movedim(-1, axis)
