"""How far boxes overlap, in ways that follow from `ops.box_iou`: every box with every other.

Boxes are [N, 2D] and [M, 2D], half-open, `z0 y0 x0 z1 y1 x1`; results are [N, M].
"""

from __future__ import annotations

from itertools import combinations
from math import pi

import torch
from torch import Tensor

from ..ops.box_iou import box_iou

_TINY = 1e-7  # instead of dividing by zero


def box_ioa(boxes: Tensor, others: Tensor) -> Tensor:
    """The part of each box that lies in the other one; 0 of an empty box."""
    (low, high), (start, stop) = boxes.chunk(2, 1), others.chunk(2, 1)
    shared = torch.minimum(high[:, None], stop) - torch.maximum(low[:, None], start)
    area = (high - low).clamp(min=0).prod(1)[:, None]
    return shared.clamp(min=0).prod(-1) / area.clamp(min=_TINY)


def box_diou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU minus the squared distance of the centres in hull diagonals (Zheng et al., AAAI 2020)."""
    (low, high), (start, stop) = boxes.chunk(2, 1), others.chunk(2, 1)
    hull = torch.maximum(high[:, None], stop) - torch.minimum(low[:, None], start)
    apart = (low + high)[:, None] / 2 - (start + stop) / 2
    distance = apart.square().sum(-1) / hull.square().sum(-1).clamp(min=_TINY)
    return box_iou(boxes, others) - distance


def box_ciou(boxes: Tensor, others: Tensor) -> Tensor:
    """DIoU minus a term for the proportions (Zheng et al., AAAI 2020).

    With more than two axes the term is the mean over the pairs of axes. As in the paper, its
    weight gets no gradient.
    """
    unlike = (_tilts(boxes)[:, None] - _tilts(others)).mul(2 / pi).square().mean(-1)
    weight = unlike / (1 - box_iou(boxes, others) + unlike).clamp(min=_TINY)
    return box_diou(boxes, others) - weight.detach() * unlike


def _tilts(boxes: Tensor) -> Tensor:
    """[N, pairs of axes] the angles of the diagonals of the sides."""
    low, high = boxes.chunk(2, 1)
    sides = (high - low).unbind(1)
    return torch.stack([torch.atan2(a, b) for a, b in combinations(sides, 2)], 1)
