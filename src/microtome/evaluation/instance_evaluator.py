"""Objects against objects: pooled numbers, and one row per image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor
from torchmetrics import Metric

from ..structures import Classes, Instances, LabelLayers, Segmentation
from .instance_scores import THRESHOLDS, Tally, instance_scores, tally
from .overlap import overlap


class InstanceTally(Metric):  # type: ignore[misc]  # torchmetrics is not followed by mypy
    """The tally of all images so far, summed over processes.

    Args:
        count: K.
        thresholds: T values of IoU in (0, 1].
    """

    full_state_update = False

    def __init__(self, count: int, thresholds: Sequence[float] = THRESHOLDS) -> None:
        super().__init__()
        self.count, self.thresholds = count, tuple(thresholds)
        for name, zeros in Tally.empty(count, len(self.thresholds))._asdict().items():
            self.add_state(name, zeros, dist_reduce_fx="sum")

    def update(self, result: Instances, truth: Instances, ignored: Tensor | None = None) -> None:
        """Match the objects of one image; `ignored` [*S] is True where nothing is judged.

        Raises ValueError when either has no masks, and what `overlap` and `tally` raise.
        """
        covered = overlap(_masks(result, "result"), _masks(truth, "truth"), ignored)
        own = tally(covered, result.labels, truth.labels, self.count, self.thresholds)
        for name, counts in own._asdict().items():
            setattr(self, name, getattr(self, name) + counts.to(self.matched.device))

    def compute(self) -> Tally:
        """Everything so far."""
        return Tally(self.matched, self.spurious, self.missed, self.quality)


class InstanceEvaluator:
    """Pools the objects of many images and scores them.

    Attributes:
        main: the number that says most.
        classes: the class table; numbers are given for its things, or for all classes where it
            names no things.
        tally: the pooled counts; they sum themselves up over processes.
        rows: for each image its name and its own numbers whatever the class; the images of this
            process only.
    """

    main = "pq"

    def __init__(self, classes: Classes, thresholds: Sequence[float] = THRESHOLDS) -> None:
        self.classes = classes
        self.tally = InstanceTally(classes.num_classes, thresholds)
        self.rows: list[tuple[str, dict[str, float]]] = []

    def reset(self) -> None:
        """Forget all images."""
        self.tally.reset()
        self.rows.clear()

    def process(
        self,
        results: Iterable[Segmentation],
        truths: Iterable[Segmentation],
        names: Iterable[str] | None = None,
    ) -> None:
        """Score images; pixels with the `ignore_index` in the truth's classes are not judged.

        Raises ValueError where a result and its truth differ in shape, and where either has no
        objects with masks.
        """
        given = None if names is None else iter(names)
        for result, truth in zip(results, truths, strict=True):
            found, true = _objects(result, "result"), _objects(truth, "truth")
            ignored = None
            if truth.classes is not None:
                ignored = truth.classes.to(found.labels.device) == self.classes.ignore_index
            name = str(len(self.rows)) if given is None else next(given)
            own = self.tally(found, true.to(found.labels.device), ignored)
            self.rows.append((name, instance_scores(own, {}, self.tally.thresholds)))

    @property
    def numbers(self) -> list[str]:
        """What `evaluate` will give."""
        thresholds = self.tally.thresholds
        empty = Tally.empty(self.classes.num_classes, len(thresholds))
        return list(instance_scores(empty, self._counted(), thresholds))

    def evaluate(self) -> dict[str, float]:
        """The numbers of all images together, as `instance_scores` names them."""
        return instance_scores(self.tally.compute(), self._counted(), self.tally.thresholds)

    def _counted(self) -> dict[int, str]:
        things = self.classes.things or (True,) * self.classes.num_classes
        return {i: name for i, name in enumerate(self.classes.names) if things[i]}


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
