"""From queries to what is in an image, with memory for a few full-size masks at a time.

Q queries, K classes, E channels, *S the shape of the features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry import window
from ..layers import resize_maps
from ..structures import Boxes, Instances, LabelLayers

CHUNK = 16  # masks that are held at full size
NOTHING = 1e-8  # what every class is given, so that a pixel nobody claims has scores too
OVERLAP = 0.5  # an object of which less than this is left uncovered is a second copy


class Queries(NamedTuple):
    """One image's queries: classes [Q, K + 1], embeddings [Q, E], features [E, *S]."""

    class_logits: Tensor
    embeddings: Tensor
    features: Tensor

    def full_masks(
        self, rows: Tensor, canvas: Sequence[int], shape: Sequence[int]
    ) -> Iterator[Tensor]:
        """Mask logits of `rows`, a few at a time, on the canvas and cut to the image's `shape`."""
        features = self.features.float()
        for some in rows.split(CHUNK) if len(rows) else ():
            logits = torch.tensordot(self.embeddings[some].float(), features, dims=1)
            yield resize_maps(logits[None], canvas)[0][(slice(None), *window(shape))]


def semantic_scores(queries: Queries, canvas: Sequence[int], shape: Sequence[int]) -> Tensor:
    """[K, *shape]: the sum over queries of class times mask probability, adding up to one.

    Normalised, so that scores of neighbouring tiles weigh the same where they are blended.
    """
    probs = queries.class_logits.float().softmax(-1)[:, :-1]
    scores = probs.new_full((probs.shape[1], *shape), NOTHING)
    everyone = torch.arange(len(probs), device=probs.device)
    masks = queries.full_masks(everyone, canvas, shape)
    for some, logits in zip(probs.split(CHUNK), masks, strict=True):
        scores += torch.tensordot(some.T, logits.sigmoid(), dims=1)
    return scores / scores.sum(0)


def found_objects(
    queries: Queries,
    probs: Tensor,
    canvas: Sequence[int],
    shape: Sequence[int],
    min_score: float,
) -> Instances:
    """Objects with scores, best first, in one map without overlaps.

    The score is the class's probability, of `probs` [Q, K], times the mean probability within the
    mask. Queries are sifted by class before any mask is made large. A pixel belongs to the best
    object that claims it; objects that are half covered by better ones are dropped.
    """
    classes, labels = probs.max(-1)
    rows = (classes >= min_score).nonzero().flatten()
    scores = _mask_scores(queries, rows, canvas, shape) * classes[rows]
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] >= max(min_score, torch.finfo().tiny)]
    painted = torch.zeros(*shape, dtype=torch.int32, device=classes.device)
    kept = _paint(painted, queries.full_masks(rows[order], canvas, shape))
    chosen = order[kept]
    masks = LabelLayers(painted[None], torch.arange(1, len(chosen) + 1, device=classes.device))
    boxes = Boxes(masks.boxes())
    return Instances(labels[rows[chosen]], boxes, scores[chosen], masks)


def _mask_scores(
    queries: Queries, rows: Tensor, canvas: Sequence[int], shape: Sequence[int]
) -> Tensor:
    """Mean probability within each mask, 0 for an empty one."""
    scores = [queries.embeddings.new_zeros(0, dtype=torch.float32)]
    for logits in queries.full_masks(rows, canvas, shape):
        flat = logits.flatten(1)
        inside = flat > 0
        scores.append((flat.sigmoid() * inside).sum(1) / inside.sum(1).clamp(min=1))
    return torch.cat(scores)


def _paint(painted: Tensor, masks: Iterator[Tensor]) -> list[int]:
    """Paint masks, best first, as 1…N where nothing is yet; return the indices of those painted."""
    kept: list[int] = []
    for index, mask in enumerate(one > 0 for some in masks for one in some):
        free = mask & (painted == 0)
        if free.sum() > OVERLAP * mask.sum():
            kept.append(index)
            painted[free] = len(kept)
    return kept
