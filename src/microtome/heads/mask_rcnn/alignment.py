"""How boxes lie on pixels and cells.

`areas`, as everywhere in the house: pixel i covers i…i + 1, a cell of a map `stride` pixels.
`torchvision`, as its Mask R-CNN was written and its published weights were trained: cells are taken
for points at their lower corners, regions of interest are at least one cell long and lie half a
cell further, anchors are rounded, and masks are pasted into boxes of whole pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

Alignment = Literal["areas", "torchvision"]


def checked_alignment(name: str) -> None:
    """Raise ValueError for a name that is none."""
    if name not in get_args(Alignment):
        raise ValueError(f"alignment is one of {get_args(Alignment)}, got {name!r}")


def regions(boxes: Tensor, stride: Sequence[float], alignment: Alignment) -> Tensor:
    """Boxes [N, 2D] as `ops.roi_align`, which works with areas, has to be given them."""
    if alignment == "areas":
        return boxes
    step = boxes.new_tensor(stride)
    low, high = boxes.chunk(2, 1)
    return torch.cat([low, torch.maximum(high, low + step)], 1) + step.repeat(2) / 2
