"""Boxes as what a network regresses: how far and how much larger than another box.

Girshick et al., R-CNN, CVPR 2014, for any number of axes.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import torch
from torch import Tensor

LARGEST = log(1000 / 16)  # of the logarithm of a size: no box overflows before it is clipped


class BoxCoding(NamedTuple):
    """Offsets of centres in sizes of the other box, and logarithms of relative sizes.

    Attributes:
        centre, size: what these are multiplied by, so that their deviations are near one.
    """

    centre: float = 1.0
    size: float = 1.0

    def encode(self, boxes: Tensor, around: Tensor) -> Tensor:
        """Boxes [N, 2D], none of them empty, seen from others [N, 2D]: [N, 2D]."""
        (low, high), (start, stop) = boxes.chunk(2, 1), around.chunk(2, 1)
        sizes, others = high - low, stop - start
        offsets = (low + 0.5 * sizes) - (start + 0.5 * others)
        return torch.cat([self.centre * offsets / others, self.size * (sizes / others).log()], 1)

    def decode(self, deltas: Tensor, around: Tensor) -> Tensor:
        """The boxes again: [..., 2D], of deltas and others that broadcast."""
        offsets, logs = deltas.chunk(2, -1)
        start, stop = around.chunk(2, -1)
        others = stop - start
        centres = offsets / self.centre * others + (start + 0.5 * others)
        half = 0.5 * (logs / self.size).clamp(max=LARGEST).exp() * others
        return torch.cat([centres - half, centres + half], -1)
