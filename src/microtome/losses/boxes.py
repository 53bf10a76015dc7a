"""Losses of boxes, [N, 2D] centre and sizes in array order, as parts of the image.

As in DETR (Carion et al., ECCV 2020): the sum of absolute differences, and generalised IoU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..ops.box_iou import box_giou, box_giou_paired


def box_losses(boxes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Of each box and its target, both [N, 2D]: the L1 distance, and 1 - GIoU, both [N]."""
    apart = (boxes - targets).abs().sum(1)
    return apart, 1 - box_giou_paired(corners(boxes), corners(targets))


def box_costs(boxes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Of every box [Q, 2D] with every target [N, 2D]: the L1 distance, and -GIoU, both [Q, N]."""
    return torch.cdist(boxes, targets, p=1), -box_giou(corners(boxes), corners(targets))


def corners(boxes: Tensor) -> Tensor:
    """Lower and higher corners [N, 2D]."""
    centre, sizes = boxes.chunk(2, 1)
    return torch.cat([centre - sizes / 2, centre + sizes / 2], 1)
