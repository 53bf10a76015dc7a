"""What heads share that answer with a set of (class, mask) pairs: losses and decoding.

Mask classification (Cheng et al., MaskFormer, 2021; Mask2Former, CVPR 2022).

L predictions (one per decoder layer and one before them), B batch, Q queries, K classes,
E channels, R matched masks, P points, *S the shape of the features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..losses import checked_weights
from ..losses.masks import PointSampling, class_loss
from ..losses.matching import assign_layers, class_cost, total_cost
from ..structures import Classes, ImageList, Segmentation
from . import Head, Targets
from .judged_points import JudgedPoints, known_only
from .mask_decoding import Deciding, Queries, found_objects, semantic_scores
from .mask_prediction import MaskPrediction
from .mask_targets import MaskTargets, Task, checked_task
from .mean_count import mean_count
from .panoptic_decoding import panoptic

__all__ = ["MaskClassification", "MaskPrediction"]

WEIGHTS = {"class": 2.0, "mask": 5.0, "dice": 5.0}
VISIBLE = 0.5, 0.8  # min_visible of objects alone, and, as published, in a panoptic task


class Matched(NamedTuple):
    """One image's share of the losses: labels [L, Q], and sums over its masks and layers."""

    labels: Tensor
    mask: Tensor
    dice: Tensor


class MaskClassification(Head[MaskPrediction]):
    """Losses with deep supervision, and decoding; subclasses write `forward`.

    Args:
        classes: the class table.
        task: `semantic`, one mask per class in the image; `instance`, one per object; or
            `panoptic`, one per object of the classes that are things and one per other class.
        weights: of the losses `class`, `mask` and `dice`, and of the same terms in the matching.
        sampling: at how many points masks are judged, and where.
        no_object: the weight of queries without an object in the loss `class`.
        min_score: objects below are not decoded.
        mask_threshold: the probability from which a pixel belongs to an object's mask.
        min_visible: objects are dropped of whose mask better ones leave this part or less; None for
            0.5, and for 0.8 in a panoptic task.

    Raises ValueError for an unknown task, unknown losses, thresholds that cannot be, classes that
    do not exclude each other in a semantic or panoptic task, and without things in the latter.
    """

    def __init__(
        self,
        classes: Classes,
        task: Task,
        *,
        weights: Mapping[str, float] | None = None,
        sampling: PointSampling | None = None,
        no_object: float = 0.1,
        min_score: float = 0.5,
        mask_threshold: float = 0.5,
        min_visible: float | None = None,
    ) -> None:
        super().__init__()
        self.classes, self.task = classes.checked(), checked_task(task, classes)
        self.weights = checked_weights(weights, WEIGHTS)
        self.sampling = sampling or PointSampling()
        self.no_object = no_object
        if min_visible is None:
            min_visible = VISIBLE[task == "panoptic"]
        self.deciding = Deciding(min_score, mask_threshold, min_visible).checked()
        self.scored = task == "semantic"

    def _sifted(self, min_score: float) -> bool:
        if not self.scored:
            self.deciding = self.deciding._replace(min_score=min_score)
        return not self.scored

    def losses(
        self,
        prediction: MaskPrediction,
        targets: Targets,
        points: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Losses summed over the layers; `mask` and `dice` are means over the batch's objects.

        Ignored pixels count neither in the matching nor in the losses, and images where everything
        is ignored not at all.

        Args:
            prediction: of all layers.
            targets: on the canvas.
            points: for each image the points [P, D] to draw from; drawn by chance if not given.

        Raises FloatingPointError when a term of the matching cost is not finite, and ValueError
        when a target lacks what the task needs.
        """
        device = prediction.features.device
        truths = [MaskTargets.of(t, self.task, self.classes) for t in targets]
        judged = [t.judged > 0 for t in truths]
        given: Sequence[Tensor | None] = points or [None] * len(truths)
        with torch.autocast(device.type, enabled=False):
            images = [
                self._match(*each)
                for each in zip(
                    prediction.class_logits.unbind(1),
                    prediction.embeddings.unbind(1),
                    prediction.features.unbind(),
                    truths,
                    given,
                    strict=True,
                )
            ]
            objects = sum(len(t.ids) for t in truths)
            count = mean_count(objects, device, self.training)
            labels = torch.stack([i.labels for i in images], 1)  # [L, B, Q]
            layers = zip(prediction.class_logits, labels, strict=True)
            return {
                "class": torch.stack(
                    [class_loss(logits, of, judged, self.no_object) for logits, of in layers]
                ).sum(),
                "mask": torch.stack([i.mask for i in images]).sum() / count,
                "dice": torch.stack([i.dice for i in images]).sum() / count,
            }

    def decode(self, prediction: MaskPrediction, images: ImageList) -> list[Segmentation]:
        """Class scores [K, *S] of each image, its objects, or classes and objects (panoptic).

        From the last layer.
        """
        results = []
        for index, shape in enumerate(images.shapes.tolist()):
            queries = Queries(
                prediction.class_logits[-1, index],
                prediction.embeddings[-1, index],
                prediction.features[index],
            )
            if self.task == "semantic":
                scores = semantic_scores(queries, images.canvas, shape)
                results.append(Segmentation(scores=scores))
            elif self.task == "instance":
                probs = queries.class_logits.float().softmax(-1)[:, :-1]
                objects = found_objects(queries, probs, images.canvas, shape, self.deciding)
                results.append(Segmentation(instances=objects))
            else:
                where = images.canvas, shape
                results.append(panoptic(queries, self.classes, *where, self.deciding))
        return results

    def _match(
        self,
        classes: Tensor,
        embeddings: Tensor,
        features: Tensor,
        truth: MaskTargets,
        points: Tensor | None,
    ) -> Matched:
        """One image: [L, Q, K + 1], [L, Q, E], [E, *S]."""
        embeddings, features = embeddings.float(), known_only(features.float(), truth)
        judged = JudgedPoints.of(truth, self.sampling, points)
        with torch.no_grad():
            mask_terms = judged.costs(embeddings, features, truth.ids)
            layers, queries, objects = self._assign(classes, mask_terms, truth.labels)
        labels = torch.full(classes.shape[:2], self.classes.num_classes, device=classes.device)
        labels[layers, queries] = truth.labels[objects]
        matched, ids = embeddings[layers, queries], truth.ids[objects]
        weights = self.weights["mask"], self.weights["dice"]
        sums = judged.losses(matched, features, ids, weights)
        return Matched(labels, *sums)

    def _assign(
        self,
        class_logits: Tensor,
        mask_terms: Iterable[tuple[Tensor, Tensor]],
        labels: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Match every layer on its own: indices [R] of layers, queries and objects."""
        layers = (
            dict(zip(WEIGHTS, (class_cost(logits, labels), *terms), strict=True))
            for logits, terms in zip(class_logits, mask_terms, strict=True)
        )
        costs = (total_cost(terms, self.weights) for terms in layers)
        return assign_layers(costs, tuple(WEIGHTS))
