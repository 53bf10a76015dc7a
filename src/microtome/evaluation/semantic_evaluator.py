"""Class maps against class maps: pooled numbers, and one row per image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..geometry import Spacing
from ..structures import Classes, Segmentation
from .confusion import PixelSums, class_scores, confusion
from .evaluator import DatasetEvaluator
from .sums import weighted

ROW = ("miou", "mean_dice", "pixel_accuracy")


class SemanticEvaluator(DatasetEvaluator[PixelSums]):
    """Pools the pixels of many images; the numbers are those of `confusion.scores`.

    Results with scores are decided first. The rows have `miou`, `mean_dice` and `pixel_accuracy`.
    """

    main = "miou"

    def _score(
        self, result: Segmentation, truth: Segmentation, spacing: Spacing | None
    ) -> PixelSums:
        return pixel_sums(*class_maps(result, truth), self.classes)

    def _nothing(self) -> PixelSums:
        return PixelSums(*torch.zeros(3, self.classes.num_classes, dtype=torch.int64))

    def _weighed(self, scores: Sequence[PixelSums], weights: Tensor) -> dict[str, Tensor]:
        return class_scores(weighted(scores, weights), self.classes.names)

    def _row(self, score: PixelSums) -> dict[str, float]:
        own = self._weighed([score], torch.ones(1, 1))
        return {key: float(own[key]) for key in ROW}


def evaluate(
    results: Iterable[Segmentation], truths: Iterable[Segmentation], classes: Classes
) -> dict[str, float]:
    """Score results against truths: pooled numbers, as `SemanticEvaluator` gives them."""
    evaluator = SemanticEvaluator(classes)
    evaluator.process(results, truths)
    return evaluator.evaluate()


def class_maps(result: Segmentation, truth: Segmentation) -> tuple[Tensor, Tensor]:
    """Both class maps, on the device of the result."""
    found, true = _class_map(result, "result"), _class_map(truth, "truth")
    return found, true.to(found.device)


def pixel_sums(found: Tensor, true: Tensor, classes: Classes) -> PixelSums:
    """Count the pixels of class maps of equal shape."""
    matrix = confusion(found, true, classes.num_classes, classes.ignore_index).cpu()
    return PixelSums(matrix.diagonal().clone(), matrix.sum(1), matrix.sum(0))


def _class_map(segmentation: Segmentation, what: str) -> Tensor:
    classes = segmentation.decided().classes
    if classes is None:
        raise ValueError(f"the {what} has neither `classes` nor `scores` to decide")
    return classes
