"""Objects against objects: pooled numbers, and one row per image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry import Spacing
from ..structures import Classes, Instances, LabelLayers, Segmentation
from .aggregated import Areas, area_numbers, areas
from .coco import Detections, detections
from .coco_precision import coco_numbers
from .confusion import PixelSums
from .evaluator import DatasetEvaluator
from .instance_scores import THRESHOLDS, Tally, tally, tally_numbers, tally_of_sizes
from .merged import merged_numbers, merged_pixels
from .naming import named
from .overlap import overlap
from .sums import weighted

SIZES = ("small", "medium", "large")
SIDES = (32.0, 96.0)  # pixels, of the squares and cubes that part COCO's sizes


class InstanceScore(NamedTuple):
    """What is kept of one image."""

    objects: Tally
    sizes: Tally
    areas: Areas
    merged: PixelSums
    detections: Detections


class InstanceEvaluator(DatasetEvaluator[InstanceScore]):
    """Pools the objects of many images.

    The numbers are those of `instance_scores`, `area_numbers`, `merged_numbers` and `coco_numbers`,
    named alike: without an ending of objects whatever their class, `/NAME` of a class, `mean_` over
    classes. They are given for the things of the class table, or for all classes where it names no
    things. Pixels with the `ignore_index` in the truth's classes are not judged. The rows have the
    numbers of objects whatever their class.

    Args:
        classes: the class table.
        thresholds: T values of IoU in (0, 1].
        sides: where sizes part: objects of at most so many pixels as a square (in 3D a cube) of
            the first side are small, of at most the second medium.
        cap: how many detections of an image and class count for COCO's AP, the best first; all
            when None.
    """

    main = "pq"

    def __init__(
        self,
        classes: Classes,
        thresholds: Sequence[float] = THRESHOLDS,
        sides: tuple[float, float] = SIDES,
        cap: int | None = None,
    ) -> None:
        super().__init__(classes)
        self.thresholds, self.sides, self.cap = tuple(thresholds), sides, cap
        things = classes.things or (True,) * classes.num_classes
        self.counted = {i: name for i, name in enumerate(classes.names) if things[i]}

    def by_size(self) -> dict[str, dict[str, float]]:
        """The numbers of `instance_scores` and `coco_numbers` of small, medium and large objects
        whatever their class, and of the latter the means over classes, which are COCO's. Of all
        processes together, like `evaluate`."""
        scores = self._everywhere() or [self._nothing()]
        once = torch.ones(1, len(scores))
        sums = weighted([score.sizes for score in scores], once)
        columns = {k: v[0] for k, v in tally_numbers(sums, self.thresholds).items()}
        ap = coco_numbers([score.detections for score in scores], once, sized=True)
        for key, values in ap.items():
            mean = values[0, [1 + index for index in self.counted]].nanmean(0)
            columns |= {key: values[0, 0], f"mean_{key}": mean}
        columns |= {"there": (sums.matched + sums.missed)[0, :, 0]}
        return {
            size: {key: float(values[at]) for key, values in columns.items()}
            for at, size in enumerate(SIZES)
        }

    def _score(
        self, result: Segmentation, truth: Segmentation, spacing: Spacing | None
    ) -> InstanceScore:
        found, true = _objects(result, "result"), _objects(truth, "truth")
        true = true.to(found.labels.device)
        ignored = None
        if truth.classes is not None:
            ignored = truth.classes.to(found.labels.device) == self.classes.ignore_index
        masks = _masks(found, "result")
        covered = overlap(masks, _masks(true, "truth"), ignored)
        count, dims = self.classes.num_classes, masks.maps.ndim - 1
        bounds = [side**dims for side in self.sides]
        labels = found.labels.cpu(), true.labels.cpu()
        return InstanceScore(
            tally(covered, *labels, count, self.thresholds),
            tally_of_sizes(covered, bounds, self.thresholds),
            areas(covered, *labels, count),
            merged_pixels(found, true, count, ignored),
            detections(
                covered,
                (labels[0], found.scores),
                (labels[1], None),
                count,
                bounds=bounds,
                cap=self.cap,
            ),
        )

    def _nothing(self) -> InstanceScore:
        rows, thresholds = 1 + self.classes.num_classes, len(self.thresholds)
        return InstanceScore(
            Tally.empty(rows, thresholds),
            Tally.empty(len(SIZES), thresholds),
            Areas(*torch.zeros(4, rows, 2, dtype=torch.float64)),
            PixelSums(*torch.zeros(3, rows, dtype=torch.int64)),
            Detections.empty(rows, 1 + len(SIZES)),
        )

    def _weighed(self, scores: Sequence[InstanceScore], weights: Tensor) -> dict[str, Tensor]:
        return self._numbers_of(scores, weights, self.counted)

    def _row(self, score: InstanceScore) -> dict[str, float]:
        numbers = self._numbers_of([score], torch.ones(1, 1), {})
        return {k: float(v) for k, v in numbers.items() if not k.startswith("mean_")}

    def _numbers_of(
        self, scores: Sequence[InstanceScore], weights: Tensor, names: Mapping[int, str]
    ) -> dict[str, Tensor]:
        objects, _, pixels, merged, found = zip(*scores, strict=True)
        columns = tally_numbers(weighted(objects, weights), self.thresholds)
        columns |= area_numbers(weighted(pixels, weights))
        columns |= merged_numbers(weighted(merged, weights))
        columns |= coco_numbers(found, weights, sized=False)
        return named(columns, names)


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
