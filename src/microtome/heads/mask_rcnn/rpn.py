"""Region proposals (Ren et al., NeurIPS 2015): where something is, whatever it is.

B images, L levels, A anchors of a cell, N cells times anchors of all levels, D axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...layers import conv
from ...ops.nms import batched_nms
from ...structures import Boxes, Pyramid

SMALLEST = 1e-3  # pixels; boxes thinner than this along some axis are none


class RegionProposals(nn.Module):
    """A score and a change of shape for each anchor, by the same convolutions on every level.

    Args:
        dims: D.
        channels: of every level.
        anchors: A.
        layers: convolutions of three pixels before the two answers.
    """

    def __init__(self, dims: int, channels: int, anchors: int, layers: int = 1) -> None:
        super().__init__()
        convs = [conv(dims, channels, channels, 3) for _ in range(layers)]
        self.conv = nn.Sequential(*(nn.Sequential(c, nn.ReLU(inplace=True)) for c in convs))
        self.objectness = conv(dims, channels, anchors)
        self.deltas = conv(dims, channels, anchors * 2 * dims)
        for layer in (*convs, self.objectness, self.deltas):
            nn.init.normal_(layer.get_parameter("weight"), std=0.01)
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, pyramid: Pyramid) -> tuple[list[Tensor], list[Tensor]]:
        """For each level logits [B, cells x A] and deltas [B, cells x A, 2D], in float32."""
        logits, deltas = [], []
        for maps in pyramid:
            hidden = self.conv(maps)
            logits.append(self.objectness(hidden).movedim(1, -1).flatten(1).float())
            changes = self.deltas(hidden).movedim(1, -1)
            deltas.append(changes.reshape(len(maps), -1, 2 * (maps.ndim - 2)).float())
        return logits, deltas


class Selection(NamedTuple):
    """How many candidates remain.

    Attributes:
        per_level: the best of each level.
        proposals: the best of all levels of an image, after suppression.
        overlap: the IoU above which the worse of two is suppressed, of the same level.
    """

    per_level: int
    proposals: int
    overlap: float

    def best(self, logits: Sequence[Tensor]) -> list[Tensor]:
        """For each level the indices [B, at most `per_level`] of the best."""
        return [level.topk(min(self.per_level, level.shape[1]), dim=1).indices for level in logits]

    def proposed(
        self, boxes: Sequence[Tensor], logits: Sequence[Tensor], shapes: Tensor
    ) -> list[Tensor]:
        """Sift the candidates of each image.

        Args:
            boxes: of each level [B, M_l, 2D].
            logits: of each level [B, M_l].
            shapes: [B, D] of the images, to which boxes are clipped.

        Returns boxes [n, 2D] of each image, best first.
        """
        counts = [level.shape[1] for level in logits]
        device, count = shapes.device, sum(counts)
        level = torch.arange(len(counts), device=device).repeat_interleave(
            torch.tensor(counts, device=device)
        )
        found = torch.cat(
            [
                Boxes(one).clip(shape.to(one)).tensor
                for one, shape in zip(torch.cat(list(boxes), 1), shapes, strict=True)
            ]
        )
        kept = Boxes(found).nonempty(SMALLEST).nonzero().flatten()
        scores = torch.cat(list(logits), 1).flatten()[kept].sigmoid()
        image = kept // count
        groups = image * len(counts) + level[kept % count]
        best = batched_nms(found[kept], scores, groups, self.overlap)
        here = [best[image[best] == i][: self.proposals] for i in range(len(shapes))]
        return [found[kept[rows]] for rows in here]
