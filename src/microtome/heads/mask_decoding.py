"""From queries to what is in an image, with memory for a few full-size masks at a time.

Q queries, K classes, E channels, *S the shape of the features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry import window
from ..layers import resize_maps
from ..structures import Boxes, Instances, LabelLayers

CHUNK = 16  # masks that are held at full size
NOTHING = 1e-8  # what every class is given, so that a pixel nobody claims has scores too


class Deciding(NamedTuple):
    """When a mask is an object, and which pixels are its own.

    Attributes:
        min_score: objects below are dropped.
        mask_threshold: the probability from which a pixel belongs to a mask, above 0 and below 1.
        min_visible: the part of its mask, 0…1, that must be left to an object by better ones; one
            of which less is left is a second copy, or a guess about what is covered.
    """

    min_score: float
    mask_threshold: float = 0.5
    min_visible: float = 0.5

    @property
    def level(self) -> float:
        """The logit of `mask_threshold`."""
        return log(self.mask_threshold / (1 - self.mask_threshold))

    def checked(self) -> Deciding:
        """Return itself, or raise ValueError listing what is impossible."""
        wrong = []
        if not 0 < self.mask_threshold < 1:
            wrong.append(f"mask_threshold is above 0 and below 1, got {self.mask_threshold}")
        if not 0 <= self.min_visible < 1:
            wrong.append(f"min_visible is at least 0 and below 1, got {self.min_visible}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


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
            with torch.autocast(features.device.type, enabled=False):
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
    deciding: Deciding,
) -> Instances:
    """Objects with scores, best first, in one map without overlaps.

    The score is the class's probability, of `probs` [Q, K], times the mean probability within the
    mask. Queries are sifted by class before any mask is made large. A pixel belongs to the best
    object that claims it; objects that are covered too much by better ones are dropped.
    """
    min_score, level = deciding.min_score, deciding.level
    classes, labels = probs.max(-1)
    rows = (classes >= min_score).nonzero().flatten()
    masks = queries.full_masks(rows, canvas, shape)
    scores = _mask_scores(masks, level, classes[rows])
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] >= max(min_score, torch.finfo().tiny)]
    painted = torch.zeros(*shape, dtype=torch.int32, device=classes.device)
    inside = (
        one > level for some in queries.full_masks(rows[order], canvas, shape) for one in some
    )
    chosen = order[_paint(painted, inside, deciding.min_visible)]
    return painted_objects(painted, labels[rows[chosen]], scores[chosen])


def painted_objects(painted: Tensor, labels: Tensor, scores: Tensor) -> Instances:
    """Objects 1…N of one map [*S] int32, with their labels and scores [N]."""
    masks = LabelLayers(painted[None], torch.arange(1, len(labels) + 1, device=painted.device))
    return Instances(labels, Boxes(masks.boxes()), scores, masks)


def _mask_scores(masks: Iterable[Tensor], level: float, classes: Tensor) -> Tensor:
    """Mean probability within each mask, 0 for an empty one, times that of the class [N]."""
    scores = [classes.new_zeros(0)]
    for logits in masks:
        flat = logits.flatten(1)
        inside = flat > level
        scores.append((flat.sigmoid() * inside).sum(1) / inside.sum(1).clamp(min=1))
    return torch.cat(scores) * classes


def _paint(painted: Tensor, masks: Iterable[Tensor], min_visible: float) -> list[int]:
    """Paint masks, best first, as 1…N where nothing is yet; return the indices of those painted."""
    kept: list[int] = []
    for index, mask in enumerate(masks):
        free = mask & (painted == 0)
        if free.sum() > min_visible * mask.sum():
            kept.append(index)
            painted[free] = len(kept)
    return kept
