"""The points at which the masks of one image are judged.

R masks, E channels, P points, D axes, *S the shape of the features.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..losses.masks import PointSampling, choose_uncertain, draw_points, mask_losses
from ..losses.matching import mask_costs
from ..ops.point_sample import point_sample
from .mask_targets import MaskTargets


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
        count, chosen, candidates = sampling.counts(int(truth.valid_mask.sum()))
        if points is None:
            points = draw_points(truth.valid_mask, candidates + count - chosen)
        return cls(points, truth.values(points), count, chosen, candidates)

    def costs(self, embeddings: Tensor, features: Tensor, ids: Tensor) -> list[tuple[Tensor, ...]]:
        """Terms [Q, N] of matching `embeddings` [L, Q, E] and objects `ids` [N], layer by layer."""
        points, values = self.points[: self.matching], self.values[:, : self.matching]
        sampled = point_sample(features[None], points[None])[0]  # [E, P]
        return [mask_costs(of_layer @ sampled, values, ids) for of_layer in embeddings]

    def losses(self, embeddings: Tensor, features: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy and Dice of masks [R, E] of objects `ids` [R], summed over the masks."""
        logits = _logits_at(self.points, embeddings, features)
        columns = choose_uncertain(logits.detach(), self.chosen, self.candidates)
        is_object = (self.values[:, columns] == ids[:, None]).any(0)
        judged = logits.gather(1, columns), is_object
        # recomputed on the way back: holds these two only
        entropy, dice = checkpoint(mask_losses, *judged, use_reentrant=False)
        return entropy.sum(), dice.sum()


def known_only(features: Tensor, valid_mask: Tensor) -> Tensor:
    """Zero where a cell of [E, *S] holds ignored pixels only, as beyond the image's border.

    Points on the last judged pixels would otherwise see, between the centres of two cells, what is
    predicted where nothing is known.
    """
    shape = features.shape[1:]
    share = F.interpolate(valid_mask[None, None].float(), shape, mode="area")[0]
    return features.where(share > 0, 0.0)


def _logits_at(points: Tensor, embeddings: Tensor, features: Tensor) -> Tensor:
    """Mask logits [R, P] at points [P, D]: of embeddings [R, E] and features [E, *S].

    Sampling is linear: it goes before or after the product, which is taken where it is smaller.
    """
    if features[0].numel() > len(points):
        return embeddings @ point_sample(features[None], points[None])[0]
    masks = (embeddings @ features.flatten(1)).unflatten(1, features.shape[1:])
    return point_sample(masks[None], points[None])[0]
