"""The boxes of the objects of an image, as Mask DINO learns them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..ops.masks_to_boxes import masks_to_boxes
from .mask_targets import MaskTargets


def object_boxes(truth: MaskTargets, shape: Tensor) -> Tensor:
    """[N, 2D] centres and sizes around the judged pixels of each object.

    Args:
        truth: of a task whose maps hold 0 for background.
        shape: [D] of the image in pixels; boxes are parts of it.
    """
    maps = truth.maps.where(truth.valid_mask, 0)
    highest = int(maps.max()) if maps.numel() else 0
    low, high = masks_to_boxes(maps, highest)[truth.ids.long() - 1].chunk(2, 1)
    return torch.cat([(low + high) / 2 / shape, (high - low) / shape], 1)
