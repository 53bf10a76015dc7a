"""What is judged while training: some anchors and some regions, with what they should be.

B images, S anchors, R regions, P of these that are objects, K classes, D axes, *M cells of a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .box_coding import BoxCoding
from .matching import Matching, Sampling
from .truth import ObjectTruth

BEND = 1 / 9  # where the box losses turn from square to linear


class AnchorSamples(NamedTuple):
    """Attributes: logits and is_object [S]; deltas of the objects and what they should be [P, 2D].

    All images' in one.
    """

    logits: Tensor
    is_object: Tensor
    deltas: Tensor
    wanted: Tensor

    def losses(self) -> dict[str, Tensor]:
        """`objectness`, and `proposal` for where the boxes are; sums over all that is judged."""
        count = max(1, len(self.logits))
        objectness = F.binary_cross_entropy_with_logits(
            self.logits, self.is_object.to(self.logits), reduction="sum"
        )
        proposal = F.smooth_l1_loss(self.deltas, self.wanted, beta=BEND, reduction="sum")
        return {"objectness": objectness / count, "proposal": proposal / count}


class Regions(NamedTuple):
    """The regions that are judged.

    Attributes:
        boxes: [R, 2D].
        image_index: [R] their images.
        objects: [R] of which object of the image, or below 0.
        labels: [R] its class, 0 for background.
        wanted: [P, 2D] the deltas of those that are objects.
    """

    boxes: Tensor
    image_index: Tensor
    objects: Tensor
    labels: Tensor
    wanted: Tensor


class RegionSamples(NamedTuple):
    """Attributes: logits [R, K], labels [R], deltas and wanted [P, 2D], masks and parts [P, *M].

    `masks` are logits of the object's class, `covered` the part of each cell that the object
    covers, `known` where that is known.
    """

    logits: Tensor
    labels: Tensor
    deltas: Tensor
    wanted: Tensor
    masks: Tensor
    covered: Tensor
    known: Tensor

    def losses(self) -> dict[str, Tensor]:
        """`class` and `box`, sums over the regions; `mask`, the mean over cells that are known."""
        count = max(1, len(self.labels))
        label = F.cross_entropy(self.logits, self.labels, reduction="sum")
        box = F.smooth_l1_loss(self.deltas, self.wanted, beta=BEND, reduction="sum")
        mask = F.binary_cross_entropy_with_logits(
            self.masks, self.covered, self.known.to(self.masks), reduction="sum"
        )
        cells = self.known.sum().clamp(min=1)
        return {"class": label / count, "box": box / count, "mask": mask / cells}


def anchor_samples(
    logits: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    truths: Sequence[ObjectTruth],
    rules: tuple[Matching, Sampling, BoxCoding],
) -> AnchorSamples:
    """Choose anchors [N, 2D] of each image; `logits` [B, N], `deltas` [B, N, 2D]."""
    matching, sampling, coding = rules
    chosen, is_object, moves, wanted = [], [], [], []
    for image, truth in enumerate(truths):
        found = matching.match(anchors, truth)
        rows = sampling.draw(found)
        objects = rows[found[rows] >= 0]
        chosen.append(logits[image, rows])
        is_object.append(found[rows] >= 0)
        moves.append(deltas[image, objects])
        wanted.append(coding.encode(truth.boxes[found[objects]], anchors[objects]))
    parts = (chosen, is_object, moves, wanted)
    return AnchorSamples(*(torch.cat(part) for part in parts))


def sampled_regions(
    proposals: Sequence[Tensor],
    truths: Sequence[ObjectTruth],
    rules: tuple[Matching, Sampling, BoxCoding],
) -> Regions:
    """Choose among the proposals [n, 2D] of each image and the objects' own boxes."""
    matching, sampling, coding = rules
    boxes, objects, labels, wanted = [], [], [], []
    for proposed, truth in zip(proposals, truths, strict=True):
        candidates = torch.cat([proposed, truth.boxes])
        found = matching.match(candidates, truth)
        rows = sampling.draw(found)
        found, some = found[rows], candidates[rows]
        positive = found >= 0
        boxes.append(some)
        objects.append(found)
        labels.append(truth.labels.new_zeros(len(found)))
        labels[-1][positive] = truth.labels[found[positive]]
        wanted.append(coding.encode(truth.boxes[found[positive]], some[positive]))
    return Regions(
        torch.cat(boxes),
        torch.cat([torch.full_like(o, image) for image, o in enumerate(objects)]),
        torch.cat(objects),
        torch.cat(labels),
        torch.cat(wanted),
    )
