"""Results against truths: pooled numbers, and one row per image."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..structures import Classes, Segmentation
from .confusion import ConfusionMatrix, scores

ROW = ("miou", "mean_dice", "pixel_accuracy")


class Evaluator:
    """Pools the pixels of many images and scores them.

    Attributes:
        main: the number that says most.
        classes: the class table.
        matrix: the pooled confusion matrix; it sums itself up over processes.
        rows: for each image its name and its own `miou`, `mean_dice` and `pixel_accuracy`; the
            images of this process only.
    """

    main = "miou"

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.matrix = ConfusionMatrix(classes.num_classes, classes.ignore_index)
        self.rows: list[tuple[str, dict[str, float]]] = []

    def reset(self) -> None:
        """Forget all images."""
        self.matrix.reset()
        self.rows.clear()

    def process(
        self,
        results: Iterable[Segmentation],
        truths: Iterable[Segmentation],
        names: Iterable[str] | None = None,
    ) -> None:
        """Score images; results with scores are decided first.

        Raises ValueError where a result and its truth differ in shape, and where either has no
        class map.
        """
        given = None if names is None else iter(names)
        for result, truth in zip(results, truths, strict=True):
            found, true = _class_map(result, "result"), _class_map(truth, "truth")
            name = str(len(self.rows)) if given is None else next(given)
            own = scores(self.matrix(found, true.to(found.device)), self.classes.names)
            self.rows.append((name, {key: own[key] for key in ROW}))

    @property
    def numbers(self) -> list[str]:
        """What `evaluate` will give."""
        count = self.classes.num_classes
        return list(scores(torch.zeros(count, count), self.classes.names))

    def evaluate(self) -> dict[str, float]:
        """The numbers of all images together, as `confusion.scores` names them."""
        return scores(self.matrix.compute(), self.classes.names)


def evaluate(
    results: Iterable[Segmentation], truths: Iterable[Segmentation], classes: Classes
) -> dict[str, float]:
    """Score results against truths: pooled numbers, as `Evaluator` gives them."""
    evaluator = Evaluator(classes)
    evaluator.process(results, truths)
    return evaluator.evaluate()


def _class_map(segmentation: Segmentation, what: str) -> Tensor:
    classes = segmentation.decided().classes
    if classes is None:
        raise ValueError(f"the {what} has neither `classes` nor `scores` to decide")
    return classes
