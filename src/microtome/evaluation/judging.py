"""Images scored one after the other, with pictures of the best and the worst.

C channels, *S the image's shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

from ..geometry import Spacing
from ..structures import Classes, Segmentation
from .evaluator import DatasetEvaluator
from .object_pictures import object_overlay
from .pictures import overlay

TOLD = ("mean_dice", "pixel_accuracy", "f1@0.5", "precision@0.5", "recall@0.5")  # in a title


class Judged(NamedTuple):
    """One image: its name, result and truth; and, for a picture, its pixels [C, *S]."""

    name: str
    result: Segmentation
    truth: Segmentation
    image: Tensor | None = None
    spacing: Spacing | None = None


class Shown(NamedTuple):
    """A picture of an image and how good it is."""

    value: float
    name: str
    picture: Image.Image


class Album:
    """The images with the highest and the lowest value of the evaluator's main number.

    Attributes:
        best: at most `count`, the best first.
        worst: at most `count`, the worst first; an image may be in both.
    """

    def __init__(self, evaluator: DatasetEvaluator[Any], count: int = 4) -> None:
        self.evaluator, self.count = evaluator, count
        self.best: list[Shown] = []
        self.worst: list[Shown] = []

    def offer(self, image: Judged) -> None:
        """Draw the image that was scored last, if it is one of those to be kept."""
        value = self.evaluator.rows[-1][1][self.evaluator.main]
        if math.isnan(value):
            return
        shown: Shown | None = None
        for kept, sign in ((self.best, 1), (self.worst, -1)):
            if len(kept) < self.count or sign * value > sign * kept[-1].value:
                shown = shown or Shown(value, image.name, self._drawn(image, value))
                kept.append(shown)
                kept.sort(key=lambda one: -sign * one.value)
                del kept[self.count :]

    def _drawn(self, image: Judged, value: float) -> Image.Image:
        own = self.evaluator.rows[-1][1].items()
        others = [f"{key} {v:.3f}" for key, v in own if key in TOLD and key != self.evaluator.main]
        title = "   ".join((image.name, f"{self.evaluator.main} {value:.3f}", *others))
        return picture(image, self.evaluator.classes, title)


def judge(
    evaluator: DatasetEvaluator[Any], images: Iterable[Judged], album: Album | None = None
) -> None:
    """Score images. Raises ValueError with the name of one that cannot be scored, and why."""
    for image in images:
        try:
            evaluator.process([image.result], [image.truth], [image.name], [image.spacing])
        except ValueError as error:
            raise ValueError(f"{image.name}: {error}") from error
        if album is not None:
            album.offer(image)


def picture(image: Judged, classes: Classes, title: str) -> Image.Image:
    """Image, where it is known, truth, prediction and errors."""
    pixels = None if image.image is None else image.image.cpu()
    found, true = image.result.instances, image.truth.instances
    if found is not None:
        return object_overlay(
            pixels, found, classes, title, true, image.spacing, projected=True, errors=True
        )
    decided = image.result.decided().classes
    assert decided is not None
    truth = image.truth.classes
    return overlay(pixels, decided.cpu(), classes, title, truth, image.spacing, errors=True)
