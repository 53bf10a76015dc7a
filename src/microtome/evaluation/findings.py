"""All numbers of an evaluation, in one place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any, NamedTuple

from .evaluator import DatasetEvaluator
from .instance_evaluator import InstanceEvaluator

Numbers = Mapping[str, float]
EVERYTHING, ALL = "all images", "all"


class Findings(NamedTuple):
    """All numbers of an evaluation.

    Attributes:
        pooled: over all images.
        intervals: low and high, by the names of `pooled`.
        sizes: by size, of objects.
        images: by image.
        means: over images, of each number those that have one.
        about: what was evaluated, plain data.
    """

    pooled: Numbers
    intervals: Mapping[str, tuple[float, float]]
    sizes: Mapping[str, Numbers]
    images: Mapping[str, Numbers]
    means: Numbers
    about: Mapping[str, Any]

    @classmethod
    def of(
        cls, evaluator: DatasetEvaluator[Any], about: Mapping[str, Any], draws: int = 1000
    ) -> Findings:
        """All that an evaluator knows of the images it scored."""
        sizes: dict[str, dict[str, float]] = {}
        images = dict(evaluator.rows)
        more: dict[str, int | str] = {"images": len(images)}
        if isinstance(evaluator, InstanceEvaluator):
            sizes = evaluator.by_size()
            counts = [len(score.detections.scores) // 2 for score in evaluator.scores]
            more["most_detections_in_an_image"] = max(counts, default=0)
            small, medium = evaluator.sides
            more["sizes"] = f"small up to a side of {small:g} pixels, medium up to {medium:g}"
        return cls(
            evaluator.evaluate(),
            evaluator.intervals(draws),
            sizes,
            images,
            means_of(images),
            {**about, **more},
        )


def means_of(images: Mapping[str, Numbers]) -> dict[str, float]:
    """Of each number the mean over the images that have one: every image counts the same."""
    there: dict[str, list[float]] = {}
    for numbers in images.values():
        for key, value in numbers.items():
            if not math.isnan(value):
                there.setdefault(key, []).append(value)
    return {key: fmean(values) for key, values in there.items()}


def by_class(pooled: Numbers) -> dict[str, dict[str, float]]:
    """Numbers of everything under "all", those with `/NAME` under NAME."""
    rows: dict[str, dict[str, float]] = {ALL: {}}
    for key, value in pooled.items():
        name, _, kind = key.partition("/")
        rows.setdefault(kind or ALL, {})[name] = value
    return rows
