"""The first stage: where regions may be, of all anchors, and which anchors are judged.

B images, L levels, N cells times anchors of all levels, D axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .anchors import Anchors
from .box_coding import BoxCoding
from .matching import Matching, Sampling
from .rpn import Selection
from .samples import AnchorSamples, anchor_samples
from .truth import ObjectTruth

OVERLAP = 0.7  # the IoU above which the worse of two proposals of a level is dropped


class Judged(NamedTuple):
    """Every anchor [M_l, 2D] of each level, its logit [B, M_l] and its deltas [B, M_l, 2D]."""

    anchors: list[Tensor]
    logits: list[Tensor]
    deltas: list[Tensor]


class Proposing:
    """Chooses among anchors that a network has judged.

    Args:
        anchors: of the levels.
        judged: how many of an image in a training step.
    """

    def __init__(self, anchors: Anchors, judged: int) -> None:
        self.anchors, self.coding = anchors, BoxCoding()
        self.rules = Matching(0.7, 0.3, forced=True), Sampling(judged, 0.5), self.coding

    @torch.no_grad()
    def propose(self, judged: Judged, shapes: Tensor, count: int) -> list[Tensor]:
        """At most `count` boxes [n, 2D] of each image, best first, in images of `shapes` [B, D]."""
        selection = Selection(count, count, OVERLAP)
        boxes, scores = [], []
        best = selection.best(judged.logits)
        for index, around, scored, moved in zip(best, *judged, strict=True):
            rows = torch.arange(len(index), device=index.device)[:, None]
            scores.append(scored[rows, index])
            boxes.append(self.coding.decode(moved[rows, index], around[index]))
        return selection.proposed(boxes, scores, shapes)

    def samples(self, judged: Judged, truths: Sequence[ObjectTruth]) -> AnchorSamples:
        """Some anchors of each image, and what they should be."""
        anchors = torch.cat(judged.anchors)
        logits, deltas = torch.cat(judged.logits, 1), torch.cat(judged.deltas, 1)
        return anchor_samples(logits, deltas, anchors, truths, self.rules)
