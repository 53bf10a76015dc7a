"""Objects against objects: pooled numbers, and one row per image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..structures import Classes, Instances, LabelLayers, Segmentation
from .evaluator import DatasetEvaluator
from .instance_scores import THRESHOLDS, Tally, instance_scores, tally
from .overlap import overlap
from .sums import added


class InstanceEvaluator(DatasetEvaluator[Tally]):
    """Pools the objects of many images and scores them, as `instance_scores` names the numbers.

    They are given for the things of the class table, or for all classes where it names no things.
    Pixels with the `ignore_index` in the truth's classes are not judged. The rows have the numbers
    of objects whatever their class.

    Args:
        classes: the class table.
        thresholds: T values of IoU in (0, 1].
    """

    main = "pq"

    def __init__(self, classes: Classes, thresholds: Sequence[float] = THRESHOLDS) -> None:
        super().__init__(classes)
        self.thresholds = tuple(thresholds)
        things = classes.things or (True,) * classes.num_classes
        self.counted = {i: name for i, name in enumerate(classes.names) if things[i]}

    def _score(self, result: Segmentation, truth: Segmentation) -> Tally:
        found, true = _objects(result, "result"), _objects(truth, "truth")
        ignored = None
        if truth.classes is not None:
            ignored = truth.classes.to(found.labels.device) == self.classes.ignore_index
        true = true.to(found.labels.device)
        covered = overlap(_masks(found, "result"), _masks(true, "truth"), ignored)
        count = self.classes.num_classes
        return tally(covered, found.labels, true.labels, count, self.thresholds)

    def _numbers(self, scores: Sequence[Tally]) -> dict[str, float]:
        nothing = Tally.empty(self.classes.num_classes, len(self.thresholds))
        return instance_scores(added([nothing, *scores]), self.counted, self.thresholds)

    def _row(self, score: Tally) -> dict[str, float]:
        return instance_scores(score, {}, self.thresholds)


def evaluate_instances(
    results: Iterable[Segmentation], truths: Iterable[Segmentation], classes: Classes
) -> dict[str, float]:
    """Score results against truths: pooled numbers, as `InstanceEvaluator` gives them."""
    evaluator = InstanceEvaluator(classes)
    evaluator.process(results, truths)
    return evaluator.evaluate()


def _objects(segmentation: Segmentation, what: str) -> Instances:
    if segmentation.instances is None:
        raise ValueError(f"the {what} has no `instances`")
    return segmentation.instances


def _masks(instances: Instances, what: str) -> LabelLayers:
    if instances.masks is None:
        raise ValueError(f"the objects of the {what} have no masks")
    return instances.masks
