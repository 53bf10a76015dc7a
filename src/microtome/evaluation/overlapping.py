"""Maps of sets of classes: each class is judged by itself, as there or not.

K classes, 2^K sets, *S any shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry import Spacing
from ..structures import Segmentation, members
from .confusion import confusion
from .evaluator import DatasetEvaluator
from .semantic_evaluator import class_maps
from .sums import weighted

ROW = ("miou", "mean_dice", "pixel_accuracy")


class SetSums(NamedTuple):
    """Pixels of one image; those of images add up.

    Attributes:
        hits: [K] of each class in truth and result.
        true: [K] in the truth.
        found: [K] in the result.
        judged: [1] all.
        exact: [1] those with the very classes of the truth.
    """

    hits: Tensor
    true: Tensor
    found: Tensor
    judged: Tensor
    exact: Tensor


class OverlappingEvaluator(DatasetEvaluator[SetSums]):
    """IoU, Dice, precision, recall and specificity of each class, and their means.

    `pixel_accuracy` counts pixels with all classes right. A class absent from truth and result is
    nan and left out of the means, as in `confusion.scores`.
    """

    main = "miou"

    def _score(self, result: Segmentation, truth: Segmentation, spacing: Spacing | None) -> SetSums:
        count, ignored = self.classes.num_classes, self.classes.ignore_index
        matrix = confusion(*class_maps(result, truth), count, ignored).cpu()
        holds = members(torch.arange(count), len(self.classes.members), -1)  # [sets, K]
        both = holds.mT @ matrix @ holds
        return SetSums(
            both.diagonal().clone(),
            matrix.sum(1) @ holds,
            matrix.sum(0) @ holds,
            matrix.sum()[None],
            matrix.diagonal().sum()[None],
        )

    def _nothing(self) -> SetSums:
        zeros = torch.zeros(len(self.classes.members), dtype=torch.int64)
        return SetSums(zeros, zeros, zeros, zeros[:1], zeros[:1])

    def _weighed(self, scores: Sequence[SetSums], weights: Tensor) -> dict[str, Tensor]:
        hits, true, found, judged, exact = weighted(scores, weights)
        either = true + found - hits
        nan = torch.full_like(hits, torch.nan)
        per_class = {
            "iou": hits / either,
            "dice": 2 * hits / (true + found),
            "precision": torch.where(either > 0, hits / found.clamp(min=1), nan),
            "recall": hits / true,
            "specificity": torch.where(either > 0, 1 - (found - hits) / (judged - true), nan),
        }
        return {
            "miou": per_class["iou"].nanmean(-1),
            "mean_dice": per_class["dice"].nanmean(-1),
            "pixel_accuracy": (exact / judged)[..., 0],
            "mean_accuracy": per_class["recall"].nanmean(-1),
            "mean_precision": per_class["precision"].nanmean(-1),
            "mean_specificity": per_class["specificity"].nanmean(-1),
        } | {
            f"{key}/{name}": values[..., index]
            for key, values in per_class.items()
            for index, name in enumerate(self.classes.members)
        }

    def _row(self, score: SetSums) -> dict[str, float]:
        own = self._weighed([score], torch.ones(1, 1))
        return {key: float(own[key]) for key in ROW}
