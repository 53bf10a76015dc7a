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
from torch import Tensor, distributed
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..losses import checked_weights
from ..losses.masks import (
    PointSampling,
    choose_uncertain,
    class_loss,
    draw_points,
    mask_losses,
)
from ..losses.matching import assign, class_cost, mask_costs
from ..ops.point_sample import point_sample
from ..structures import Classes, ImageList, Segmentation
from . import Head, Targets
from .mask_decoding import Queries, found_objects, semantic_scores
from .mask_targets import MaskTargets, Task

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


class Pool(NamedTuple):
    """Points of one image at which its masks are judged.

    Attributes:
        points: [P, D] in 0…1.
        values: [layers of the truth, P], what lies there.
        chosen: how many of the candidates each mask takes, its most uncertain ones.
        candidates: how many points are candidates, the first ones; all masks take the others.
    """

    points: Tensor
    values: Tensor
    chosen: int
    candidates: int

    def first(self, count: int) -> Pool:
        """The first points only, all of them candidates."""
        return Pool(self.points[:count], self.values[:, :count], 0, count)

    def losses(self, embeddings: Tensor, features: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy and Dice of masks [R, E] of objects `ids` [R], summed over the masks."""
        logits = _logits_at(self.points, embeddings, features)
        columns = choose_uncertain(logits.detach(), self.chosen, self.candidates)
        is_object = (self.values[:, columns] == ids[:, None]).any(0)
        known = logits.gather(1, columns), is_object
        entropy, dice = checkpoint(mask_losses, *known, use_reentrant=False)  # holds these two only
        return entropy.sum(), dice.sum()


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
            count = self._mean_count(sum(len(t.ids) for t in truths), device)
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
                objects = found_objects(queries, images.canvas, shape, self.min_score)
                results.append(Segmentation(instances=objects))
        return results

    def _mean_count(self, count: int, device: torch.device) -> Tensor:
        """Over processes, at least 1; each counts for itself in validation, where some go faster.

        There they have different numbers of tiles, and would wait for each other for ever.
        """
        total = torch.tensor(float(count), device=device)
        if self.training and distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(total)
            total /= distributed.get_world_size()
        return total.clamp(min=1)

    def _match(
        self, prediction: MaskPrediction, index: int, truth: MaskTargets, points: Tensor | None
    ) -> Matched:
        classes = prediction.class_logits[:, index].float()
        embeddings = prediction.embeddings[:, index].float()
        features = _judged_only(prediction.features[index].float(), truth.valid_mask)
        count, chosen, candidates = self.sampling.counts(int(truth.valid_mask.sum()))
        if points is None:
            points = draw_points(truth.valid_mask, candidates + count - chosen)
        pool = Pool(points, truth.values(points), chosen, candidates)
        layers, queries, objects = self._assign(
            classes, embeddings, features, pool.first(count), truth
        )
        labels = torch.full(classes.shape[:2], self.classes.num_classes, device=classes.device)
        labels[layers, queries] = truth.labels[objects]
        at_once = max(16, _LOGITS_AT_ONCE // max(1, len(points)) // 16 * 16)  # whole vectors
        some = zip(
            embeddings[layers, queries].split(at_once),
            truth.ids[objects].split(at_once),
            strict=True,
        )
        sums = [pool.losses(of_mask, features, ids) for of_mask, ids in some]
        mask, dice = torch.stack([torch.stack(pair) for pair in sums]).sum(0)
        return Matched(labels, mask, dice)

    @torch.no_grad()
    def _assign(
        self,
        class_logits: Tensor,
        embeddings: Tensor,
        features: Tensor,
        pool: Pool,
        truth: MaskTargets,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Match every layer on its own: indices [R] of layers, queries and objects."""
        sampled = point_sample(features[None], pool.points[None])[0]  # [E, P]
        terms = [
            (
                class_cost(of_class, truth.labels),
                *mask_costs(of_mask @ sampled, pool.values, truth.ids),
            )
            for of_class, of_mask in zip(class_logits, embeddings, strict=True)
        ]
        costs = torch.stack([torch.stack(layer) for layer in terms]).cpu()  # one wait for all
        pairs = [
            assign(dict(zip(WEIGHTS, layer, strict=True)), self.weights) for layer in costs.unbind()
        ]
        layers = torch.cat([torch.full_like(q, layer) for layer, (q, _) in enumerate(pairs)])
        queries, objects = (torch.cat(side) for side in zip(*pairs, strict=True))
        device = class_logits.device
        return layers.to(device), queries.to(device), objects.to(device)


def _logits_at(points: Tensor, embeddings: Tensor, features: Tensor) -> Tensor:
    """Mask logits [R, P] at points [P, D]: of embeddings [R, E] and features [E, *S].

    Sampling is linear: it goes before or after the product, which is taken where it is smaller.
    """
    if features[0].numel() > len(points):
        return embeddings @ point_sample(features[None], points[None])[0]
    masks = (embeddings @ features.flatten(1)).unflatten(1, features.shape[1:])
    return point_sample(masks[None], points[None])[0]


def _judged_only(features: Tensor, valid_mask: Tensor) -> Tensor:
    """Zero where a cell of [E, *S] holds ignored pixels only, as beyond the image's border.

    Points on the last judged pixels would otherwise see, between the centres of two cells, what is
    predicted where nothing is known.
    """
    shape = features.shape[1:]
    share = F.interpolate(valid_mask[None, None].float(), shape, mode="area")[0]
    return features.where(share > 0, 0.0)
