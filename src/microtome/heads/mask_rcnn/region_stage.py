"""The second stage: what is asked of regions, while training and in use.

R regions of all images, P of these that are objects, N objects that are found, D axes, *M the cells
of a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...structures import Pyramid
from .box_coding import BoxCoding
from .branches import BoxBranch, MaskBranch
from .detecting import Detecting, Detections
from .matching import Matching, Sampling
from .pooling import Pooling
from .roi_targets import mask_targets
from .samples import Regions, RegionSamples, sampled_regions
from .truth import ObjectTruth

AT_ONCE = 2**26  # numbers of pooled features that are held at a time where nothing is learnt


class Found(NamedTuple):
    """What is in the images: the detections, and the logits [N, *M] of their classes' masks."""

    objects: Detections
    masks: Tensor


class RegionStage(nn.Module):
    """Looks regions up and asks for their class, box and mask.

    Args:
        pooling: how they are looked up.
        boxes: class and box of `box_cells` per axis.
        masks: of `mask_cells` per axis.
        box_cells, mask_cells: D each.
        judged: how many regions of an image in a training step.
        detecting: what counts as an object.
    """

    def __init__(
        self,
        pooling: Pooling,
        branches: tuple[BoxBranch, MaskBranch],
        cells: tuple[Sequence[int], Sequence[int]],
        judged: int,
        detecting: Detecting,
    ) -> None:
        super().__init__()
        self.pooling, self.detecting = pooling, detecting
        self.boxes, self.masks = branches
        self.box_cells, self.mask_cells = cells
        self.coding = BoxCoding(10, 5)
        self.rules = Matching(0.5, 0.5, forced=False), Sampling(judged, 0.25), self.coding

    def judge(
        self, pyramid: Pyramid, proposals: Sequence[Tensor], truths: Sequence[ObjectTruth]
    ) -> RegionSamples:
        """Ask of some proposals [n, 2D] of each image, and know what the answers should be."""
        some = sampled_regions(proposals, truths, self.rules)
        logits, deltas = self.boxes(
            self.pooling(pyramid, some.boxes, some.image_index, self.box_cells)
        )
        rows = (some.labels > 0).nonzero().flatten()
        kinds = some.labels[rows]
        pooled = self.pooling(pyramid, some.boxes[rows], some.image_index[rows], self.mask_cells)
        masks = self.masks(pooled)
        own = torch.arange(len(rows), device=rows.device)
        covered, known = self._mask_targets(some, rows, truths, masks.shape[2:])
        return RegionSamples(
            logits,
            some.labels,
            deltas[rows, kinds],
            some.wanted,
            masks[own, kinds].float(),
            covered,
            known,
        )

    def find(self, pyramid: Pyramid, proposals: Sequence[Tensor], shapes: Tensor) -> Found:
        """Objects among the proposals [n, 2D] of each image, of the sizes [B, D]."""
        boxes = torch.cat(list(proposals))
        index = torch.cat(
            [torch.full_like(p[:, 0], i, dtype=torch.long) for i, p in enumerate(proposals)]
        )
        answers = [
            self.boxes(self.pooling(pyramid, boxes[rows], index[rows], self.box_cells))
            for rows in _parts(len(boxes), pyramid, self.box_cells)
        ]
        logits, deltas = (torch.cat(answer) for answer in zip(*answers, strict=True))
        objects = self.detecting.detect(boxes, index, (logits, deltas), shapes, self.coding)
        masks = []
        for rows in _parts(len(objects.boxes), pyramid, self.mask_cells):
            where = objects.boxes[rows], objects.image_index[rows]
            of_classes = self.masks(self.pooling(pyramid, *where, self.mask_cells))
            own = torch.arange(len(of_classes), device=index.device)
            masks.append(of_classes[own, objects.labels[rows]])
        return Found(objects, torch.cat(masks))

    def _mask_targets(
        self, some: Regions, rows: Tensor, truths: Sequence[ObjectTruth], cells: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """[P, *M] twice, for the regions `rows`, which are in the order of their images."""
        parts, alignment = [], self.pooling.alignment
        with torch.autocast(rows.device.type, enabled=False):
            for image, truth in enumerate(truths):
                here = rows[some.image_index[rows] == image]
                where, which = some.boxes[here], some.objects[here]
                parts.append(mask_targets(truth, where, which, cells, alignment))
        covered, known = (torch.cat(part) for part in zip(*parts, strict=True))
        return covered, known > 0.5


def _parts(count: int, pyramid: Pyramid, cells: Sequence[int]) -> list[slice]:
    """Regions that are pooled at a time: one part at least, so that its shapes are known."""
    step = max(1, AT_ONCE // (pyramid[0].shape[1] * prod(cells)))
    return [slice(start, start + step) for start in range(0, max(count, 1), step)]
