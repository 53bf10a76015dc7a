"""What heads share that answer with a set of (class, mask) pairs: losses and decoding.

Mask classification (Cheng et al., MaskFormer, 2021; Mask2Former, CVPR 2022). A query's mask is the
product of its embedding with the pixels' features. The prediction keeps these two factors and not
their product: sampling is linear, so masks at points are embeddings times sampled features, and no
[Q, *S] is ever held for all layers.

L predictions (one per decoder layer and one before them), B batch, Q queries, K classes,
E channels, R matched masks, P points, *S the shape of the features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..losses import checked_weights
from ..losses.masks import PointSampling, class_loss
from ..losses.matching import assign, class_cost
from ..structures import Classes, ImageList, Segmentation
from . import Head, Targets
from .judged_points import JudgedPoints, known_only
from .mask_decoding import Queries, found_objects, semantic_scores
from .mask_targets import MaskTargets, Task
from .mean_count import mean_count

__all__ = ["MaskClassification", "MaskPrediction"]

WEIGHTS = {"class": 2.0, "mask": 5.0, "dice": 5.0}
_LOGITS_AT_ONCE = 2**23  # mask logits that are held at a time, 32 MB


class MaskPrediction(NamedTuple):
    """What is predicted, layer by layer.

    Attributes:
        class_logits: [L, B, Q, K + 1], the last class meaning "no object".
        embeddings: [L, B, Q, E].
        features: [B, E, *S].
    """

    class_logits: Tensor
    embeddings: Tensor
    features: Tensor

    def mask_logits(self, layer: int = -1) -> Tensor:
        """[B, Q, *S] of one layer."""
        return torch.einsum("bqe,be...->bq...", self.embeddings[layer], self.features)


class Matched(NamedTuple):
    """One image's share of the losses: labels [L, Q], and sums over its masks and layers."""

    labels: Tensor
    mask: Tensor
    dice: Tensor


class MaskClassification(Head[MaskPrediction]):
    """Losses with deep supervision, and decoding; subclasses write `forward`.

    Args:
        classes: the class table.
        task: `semantic`, one mask per class in the image, or `instance`, one per object.
        weights: of the losses `class`, `mask` and `dice`, and of the same terms in the matching.
        sampling: at how many points masks are judged, and where.
        no_object: the weight of queries without an object in the loss `class`.
        min_score: objects below are not decoded.

    Raises ValueError for an unknown task, unknown losses, and classes that do not exclude each
    other in a semantic task.
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
    ) -> None:
        super().__init__()
        if task not in ("semantic", "instance"):
            raise ValueError(f"task is `semantic` or `instance`, got {task!r}")
        if task == "semantic" and not classes.exclusive:
            raise ValueError("task semantic gives each pixel one class: `exclusive: true` classes")
        self.classes, self.task = classes.checked(), task
        self.weights = checked_weights(weights, WEIGHTS)
        self.sampling = sampling or PointSampling()
        self.no_object, self.min_score = no_object, min_score
        self.scored = task == "semantic"

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
        judged = [bool(t.valid_mask.any()) for t in truths]
        with torch.autocast(device.type, enabled=False):
            images = [
                self._match(prediction, index, truth, None if points is None else points[index])
                for index, truth in enumerate(truths)
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
        """Class scores [K, *S] of each image, or its objects, from the last layer."""
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
            else:
                probs = queries.class_logits.float().softmax(-1)[:, :-1]
                objects = found_objects(queries, probs, images.canvas, shape, self.min_score)
                results.append(Segmentation(instances=objects))
        return results

    def _match(
        self, prediction: MaskPrediction, index: int, truth: MaskTargets, points: Tensor | None
    ) -> Matched:
        classes = prediction.class_logits[:, index].float()
        embeddings = prediction.embeddings[:, index].float()
        features = known_only(prediction.features[index].float(), truth.valid_mask)
        judged = JudgedPoints.of(truth, self.sampling, points)
        mask_terms = judged.costs(embeddings.detach(), features.detach(), truth.ids)
        layers, queries, objects = self._assign(classes.detach(), mask_terms, truth.labels)
        labels = torch.full(classes.shape[:2], self.classes.num_classes, device=classes.device)
        labels[layers, queries] = truth.labels[objects]
        at_once = max(16, _LOGITS_AT_ONCE // max(1, len(judged.points)) // 16 * 16)  # whole vectors
        some = zip(
            embeddings[layers, queries].split(at_once),
            truth.ids[objects].split(at_once),
            strict=True,
        )
        sums = [judged.losses(of_mask, features, ids) for of_mask, ids in some]
        mask, dice = torch.stack([torch.stack(pair) for pair in sums]).sum(0)
        return Matched(labels, mask, dice)

    def _assign(
        self, class_logits: Tensor, mask_terms: Sequence[tuple[Tensor, ...]], labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Match every layer on its own: indices [R] of layers, queries and objects."""
        costs = torch.stack(
            [
                torch.stack([class_cost(logits, labels), *terms])
                for logits, terms in zip(class_logits, mask_terms, strict=True)
            ]
        ).cpu()  # one wait for all
        pairs = [
            assign(dict(zip(WEIGHTS, layer, strict=True)), self.weights) for layer in costs.unbind()
        ]
        layers = torch.cat([torch.full_like(q, layer) for layer, (q, _) in enumerate(pairs)])
        queries, objects = (torch.cat(side) for side in zip(*pairs, strict=True))
        device = class_logits.device
        return layers.to(device), queries.to(device), objects.to(device)
