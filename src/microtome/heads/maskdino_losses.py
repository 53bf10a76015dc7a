"""What Mask DINO's queries are judged by: classes, masks and boxes, in every layer.

L layers, B batch, Q queries, R queries with an object, N objects, K classes, E channels, D axes,
*S the shape of the features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..losses import checked_weights
from ..losses.boxes import box_costs, box_losses
from ..losses.focal import focal_cost, focal_losses
from ..losses.masks import PointSampling
from ..losses.matching import assign_layers, total_cost
from .judged_points import JudgedPoints, known_only
from .mask_targets import MaskTargets
from .maskdino_denoising import Known
from .maskdino_prediction import Answers
from .maskdino_targets import object_boxes

TERMS = {"class": 4.0, "mask": 5.0, "dice": 5.0, "box": 5.0, "giou": 2.0}
PARTS = ("", "proposed_", "denoised_")  # of the decoder's layers, the selection, the noisy queries


class Scene(NamedTuple):
    """One image as the losses see it: the truth, its boxes [N, 2D], points, features [E, *S]."""

    truth: MaskTargets
    boxes: Tensor
    points: JudgedPoints
    features: Tensor

    @classmethod
    def of(
        cls,
        truth: MaskTargets,
        shape: Tensor,
        features: Tensor,
        sampling: PointSampling,
        points: Tensor | None,
    ) -> Scene:
        """Points are drawn unless given; `shape` [D] is the image's."""
        features = known_only(features.float(), truth)
        judged = JudgedPoints.of(truth, sampling, points)
        return cls(truth, object_boxes(truth, shape), judged, features)


class Paired(NamedTuple):
    """R queries with their objects: embeddings [R, E], boxes [R, 2D], ids [R], their boxes."""

    embeddings: Tensor
    boxes: Tensor
    ids: Tensor
    targets: Tensor


def all_weights(given: Mapping[str, float] | None) -> dict[str, float]:
    """Of every term in every part; a term weighs the same in all of them."""
    terms = checked_weights(given, TERMS)
    return {part + name: weight for part in PARTS for name, weight in terms.items()}


def found_losses(
    answers: Answers, scenes: Sequence[Scene], weights: Mapping[str, float]
) -> dict[str, Tensor]:
    """Sums of all terms over queries that are matched with objects, every layer on its own.

    Raises FloatingPointError when a term of the matching cost is not finite.
    """
    device = answers.boxes.device
    counted = torch.tensor([[s.truth.judged > 0] for s in scenes], device=device)
    labels, sums = [], []
    for index, scene in enumerate(scenes):
        its = _of_image(answers, index)
        at, objects = _pairs(its, scene, weights)
        labels.append(torch.full(its.class_logits.shape[:2], its.class_logits.shape[2]).to(device))
        labels[-1][at] = scene.truth.labels[objects]
        ids, boxes = scene.truth.ids[objects], scene.boxes[objects]
        sums.append(_sums(Paired(its.embeddings[at], its.boxes[at], ids, boxes), scene, weights))
    return {
        "class": _class_sum(answers.class_logits, torch.stack(labels, 1), counted),
        **_added(sums),
    }


def told_losses(
    answers: Answers, known: Known, scenes: Sequence[Scene], weights: Mapping[str, float]
) -> dict[str, Tensor]:
    """Sums of all terms over noisy queries, whose objects are known."""
    layers, sums = len(answers.boxes), []
    for index, scene in enumerate(scenes):
        its, there = _of_image(answers, index), known.there[index]
        paired = Paired(
            its.embeddings[:, there].flatten(0, 1),
            its.boxes[:, there].flatten(0, 1),
            known.ids[index, there].repeat(layers),
            known.boxes[index, there].repeat(layers, 1),
        )
        sums.append(_sums(paired, scene, weights))
    labels = known.labels.expand(layers, -1, -1)
    return {"class": _class_sum(answers.class_logits, labels, known.there), **_added(sums)}


def _of_image(answers: Answers, index: int) -> Answers:
    """Of one image of the batch, [L, Q, ...] in float32."""
    return Answers(*(part[:, index].float() for part in answers))


def _class_sum(class_logits: Tensor, labels: Tensor, counted: Tensor) -> Tensor:
    """Focal loss of [L, B, Q, K] and labels [L, B, Q], K for none, where `counted` [B, Q or 1]."""
    return (focal_losses(class_logits, labels) * counted).sum()


def _added(sums: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([one[name] for one in sums]).sum() for name in sums[0]}


def _pairs(
    answers: Answers, scene: Scene, weights: Mapping[str, float]
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Of one image: indices [R] of layers and queries, and of their objects."""
    truth = scene.truth
    with torch.no_grad():
        masks = scene.points.costs(answers.embeddings, scene.features, truth.ids)
        layers = zip(answers.class_logits, masks, answers.boxes, strict=True)
        costs = []
        for c, m, b in layers:
            terms = focal_cost(c, truth.labels), *m, *box_costs(b, scene.boxes)
            costs.append(total_cost(dict(zip(TERMS, terms, strict=True)), weights))
    layer, queries, objects = assign_layers(costs, tuple(TERMS))
    return (layer, queries), objects


def _sums(paired: Paired, scene: Scene, weights: Mapping[str, float]) -> dict[str, Tensor]:
    mask, dice = scene.points.losses(
        paired.embeddings, scene.features, paired.ids, (weights["mask"], weights["dice"])
    )
    apart, unlike = box_losses(paired.boxes, paired.targets)
    return {"mask": mask, "dice": dice, "box": apart.sum(), "giou": unlike.sum()}
