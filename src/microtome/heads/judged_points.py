"""The points at which the masks of one image are judged.

R masks, E channels, P points, D axes, *S the shape of the features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..losses.masks import PointSampling, choose_uncertain, draw_points, mask_losses
from ..losses.matching import ObjectPoints, mask_costs
from ..losses.products import ProductLoss
from ..ops.point_sample import point_sample
from .mask_targets import MaskTargets

LOGITS_AT_ONCE = 2**22  # mask logits that are held at a time, 16 MB


class JudgedPoints(NamedTuple):
    """Points of one image: the first `matching` of them match, all of them are candidates to judge.

    Attributes:
        points: [P, D] in 0…1.
        values: [layers of the truth, P], what lies there.
        matching: how many points the matching looks at, the first ones.
        chosen: how many of the candidates each mask takes, its most uncertain ones.
        candidates: how many points are candidates, the first ones; all masks take the others.
    """

    points: Tensor
    values: Tensor
    matching: int
    chosen: int
    candidates: int

    @classmethod
    def of(
        cls, truth: MaskTargets, sampling: PointSampling, points: Tensor | None = None
    ) -> JudgedPoints:
        """Draw points where the truth is known, unless `points` [P, D] are given to draw from."""
        count, chosen, candidates = sampling.counts(truth.judged)
        if points is None:
            points = draw_points(truth.valid_mask, candidates + count - chosen)
        return cls(points, truth.values(points), count, chosen, candidates)

    def costs(
        self, embeddings: Tensor, features: Tensor, ids: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Terms [Q, N] of matching `embeddings` [L, Q, E] and objects `ids` [N], layer by layer."""
        points = self.points[: self.matching]
        objects = ObjectPoints.of(self.values[:, : self.matching], ids)
        sampled = point_sample(features[None], points[None])[0].T  # [P, E]
        for of_layer in embeddings:
            some = of_layer.split(_at_once(len(points)))
            # the product in the order in which the costs read it
            terms = (mask_costs((sampled @ e.T).T, objects) for e in some)
            entropies, dices = zip(*terms, strict=True)
            yield torch.cat(entropies), torch.cat(dices)

    def losses(
        self,
        embeddings: Tensor,
        features: Tensor,
        ids: Tensor,
        weights: tuple[float, float] = (1.0, 1.0),
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy and Dice of masks [R, E] of objects `ids` [R], summed over the masks.

        A few masks at a time, with their gradients; nothing is kept of a mask. `weights` is how the
        two will be weighed: with others the gradients are right too, but computed once more.

        Sampling is linear: it goes before or after the product of embeddings and features, which is
        taken where it is smaller.
        """
        on_grid = features[0].numel() <= len(self.points)
        sampled = features if on_grid else point_sample(features[None], self.points[None])[0]

        def judge(masks: Tensor, at: slice) -> Tensor:
            if on_grid:
                grid = masks.unflatten(1, features.shape[1:])
                masks = point_sample(grid[None], self.points[None])[0]
            return self._terms(masks, ids[at])

        loss = ProductLoss(judge, weights, _at_once(len(self.points)))
        entropy, dice = loss(embeddings, sampled.flatten(1))
        return entropy, dice

    def _terms(self, logits: Tensor, ids: Tensor) -> Tensor:
        """[2] of logits [r, P] at all points."""
        columns = choose_uncertain(logits.detach(), self.chosen, self.candidates)
        is_object = (self.values[:, None] == ids[:, None]).any(0)  # [r, P]
        terms = mask_losses(_Picked.apply(logits, columns), is_object.gather(1, columns))
        return torch.stack(terms).sum(1)


def _at_once(points: int) -> int:
    """How many masks are held at so many points, in whole shares of threads."""
    return max(64, LOGITS_AT_ONCE // max(1, points) // 64 * 64)


def known_only(features: Tensor, truth: MaskTargets) -> Tensor:
    """Zero where a cell of [E, *S] holds ignored pixels only, as beyond the image's border.

    Points on the last judged pixels would otherwise see, between the centres of two cells, what is
    predicted where nothing is known.
    """
    if truth.judged == truth.valid_mask.numel():
        return features
    known = truth.valid_mask[None, None].float()
    share = F.interpolate(known, features.shape[1:], mode="area")[0]
    return features.where(share > 0, 0.0)


class _Picked(torch.autograd.Function):
    """`gather` of columns, each once, which keeps their numbers; PyTorch's keeps all logits."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(columns)
        ctx.shape = logits.shape
        return logits.gather(1, columns)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (columns,) = ctx.saved_tensors
        return grad.new_zeros(ctx.shape).scatter_(1, columns.long(), grad), None
