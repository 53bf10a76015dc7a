"""Which object a box is to become, and which boxes are judged (Ren et al., NeurIPS 2015).

N boxes, M objects.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...ops.box_iou import box_iou
from .truth import ObjectTruth

AT_ONCE = 2**22  # pairs of boxes and objects that are compared at a time

IGNORED, BACKGROUND = -2, -1


class Matching(NamedTuple):
    """How boxes become objects.

    Attributes:
        foreground: from this IoU on, a box is the object that it overlaps most.
        background: below this one it is background; between the two it is not judged.
        forced: whether the boxes that overlap an object most are it anyway.
    """

    foreground: float
    background: float
    forced: bool

    def match(self, boxes: Tensor, truth: ObjectTruth) -> Tensor:
        """[N] for each box [N, 2D] its object, or BACKGROUND, or IGNORED."""
        best, which, pairs = _best(boxes, truth.boxes, self.forced)
        found = which.masked_fill(best < self.foreground, IGNORED)
        found = found.masked_fill(best < self.background, BACKGROUND)
        found[pairs] = which[pairs]
        unknown = truth.unknown(boxes)
        if unknown is not None:
            found = found.masked_fill(unknown & (found == BACKGROUND), IGNORED)
        return found


class Sampling(NamedTuple):
    """How many boxes of an image are judged, and which part of them at most may be objects."""

    number: int
    positive: float

    def draw(self, found: Tensor) -> Tensor:
        """Rising indices of the chosen ones, by chance, of what `Matching.match` found [N]."""
        objects = (found >= 0).nonzero().flatten()
        others = (found == BACKGROUND).nonzero().flatten()
        most = min(len(objects), int(self.number * self.positive))
        rest = min(len(others), self.number - most)
        first = objects[torch.randperm(len(objects), device=found.device)[:most]]
        second = others[torch.randperm(len(others), device=found.device)[:rest]]
        return torch.cat([first, second]).sort().values


def _best(boxes: Tensor, objects: Tensor, forced: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The largest IoU of each box and its object [N], and which boxes overlap an object most."""
    best, which = boxes.new_zeros(len(boxes)), boxes.new_zeros(len(boxes), dtype=torch.long)
    if not len(objects):
        return best, which, which[:0]
    at_once, nearest = max(1, AT_ONCE // len(objects)), []
    for start in range(0, len(boxes), at_once):
        rows = slice(start, start + at_once)
        overlap = box_iou(boxes[rows], objects)
        best[rows], which[rows] = overlap.max(1)
        if forced:
            nearest.append(_nearest(overlap, start))
    if not nearest:
        return best, which, which[:0]
    box, one, iou = (torch.cat(column) for column in zip(*nearest, strict=True))
    most = iou.new_zeros(len(objects)).scatter_reduce(0, one, iou, "amax")
    return best, which, box[iou == most[one]]


def _nearest(overlap: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, objects and IoU where no other box here overlaps the object more, and some do."""
    most = overlap.max(0).values
    box, one = ((overlap == most) & (overlap > 0)).nonzero().unbind(1)
    return box + start, one, most[one]
