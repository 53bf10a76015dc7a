"""Where a training crop goes: around an object or a class drawn by chance, and what it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..geometry import Region, Shape, window
from ..structures import LabelLayers, Segmentation

Pixel = npt.NDArray[np.int64]  # [D], where it lies


@dataclass(frozen=True)
class Aim:
    """Which share of the crops hold something that was chosen, and what becomes of slivers.

    A crop is drawn evenly among the windows that hold one chosen pixel, so that what it was chosen
    for may lie anywhere in it. Where an image has no object, or no judged pixel, it lies anywhere.

    Args:
        objects: share of crops around an object, drawn evenly among those of the image.
        classes: share of crops around a class, drawn among those that the image shows.
        over: what classes are balanced over. `image`: all that an image shows are drawn as often.
            `dataset`: each as often as few training images show it, so that a class of one image
            in ten gets most of the crops around classes in the images that have it.
        shown: how many training images show each class, for `dataset`; counted when not given.
        least_visible: the share of an object that must be in the crop; of one with less its pixels
            are not judged. At 0 it stays an object as long as a pixel of it is left.

    Raises ValueError for shares that are none.
    """

    objects: float = 0.0
    classes: float = 0.0
    least_visible: float = 0.0
    over: Literal["image", "dataset"] = "image"
    shown: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        shares = (self.objects, self.classes, self.least_visible)
        if min(shares) < 0 or max(shares) > 1 or self.objects + self.classes > 1:
            raise ValueError(f"aim: expected shares from 0 to 1, together at most 1, got {self}")

    @property
    def counts(self) -> bool:
        """Whether it must know how many images show each class, and does not yet."""
        return self.classes > 0 and self.over == "dataset" and not self.shown

    @property
    def asks(self) -> bool:
        """Whether it must know the truth of the whole image."""
        return self != Aim()

    def start(
        self,
        truth: Segmentation | None,
        shape: Shape,
        size: Sequence[int],
        rng: np.random.Generator,
        ignore_index: int,
    ) -> list[int]:
        """The first pixel per axis of a window of `size` in an image of `shape`."""
        if self.objects + self.classes == 0:
            return anywhere(shape, size, rng)
        lot = rng.random()
        pixel = None
        if lot < self.objects:
            pixel = _of_an_object(truth, rng)
        elif lot < self.objects + self.classes:
            pixel = self._of_a_class(truth, rng, ignore_index)
        if pixel is None:
            return anywhere(shape, size, rng)
        room = np.maximum(np.array(shape) - size, 0)
        lowest = np.maximum(pixel - np.array(size) + 1, 0)
        return _whole(rng.integers(np.minimum(lowest, room), np.minimum(pixel, room) + 1))

    def _of_a_class(
        self, truth: Segmentation | None, rng: np.random.Generator, ignore_index: int
    ) -> Pixel | None:
        """A pixel of a class."""
        if self.counts:
            raise ValueError("aim: classes over the data set need `shown`, images of each class")
        if truth is None or truth.classes is None:
            return None
        here = torch.unique(truth.classes)
        here = here[here != ignore_index]
        if len(here) == 0:
            return None
        if self.over == "image":
            chosen = here[rng.integers(len(here))]
        else:
            rarity = [1 / max(1, self.shown[int(label)]) for label in here]
            chosen = here[np.searchsorted(np.cumsum(rarity), rng.random() * sum(rarity))]
        return _one_of(truth.classes == int(chosen), rng)

    def truth(self, truth: Segmentation, region: Region, ignore_index: int) -> Segmentation:
        """The truth in a window; objects of which too little is left are not judged."""
        objects = truth.instances
        if self.least_visible == 0 or objects is None or objects.masks is None:
            return truth.crop(region)
        inside = objects.masks.crop(region)
        left, whole = _pixels(inside), _pixels(objects.masks)
        slivers = (left > 0) & (left < self.least_visible * whole)
        here = slivers[inside.maps.long()]
        inside = replace(inside, maps=inside.maps.masked_fill(here, 0))
        cut = Segmentation(
            None if truth.classes is None else truth.classes[region],
            replace(objects, masks=inside),
            None if truth.scores is None else truth.scores[(slice(None), *region)],
        ).crop(window(inside.maps.shape[1:]))
        if cut.classes is None:
            return cut
        bare = here.any(0) & (inside.maps == 0).all(0)
        return replace(cut, classes=cut.classes.masked_fill(bare, ignore_index))


def anywhere(shape: Shape, size: Sequence[int], rng: np.random.Generator) -> list[int]:
    """The first pixel per axis of a window of `size` in an image of `shape`."""
    return _whole(rng.integers(0, np.maximum(np.array(shape) - size, 0) + 1))


def _whole(numbers: Pixel) -> list[int]:
    return [int(n) for n in numbers]


def _pixels(masks: LabelLayers) -> Tensor:
    """[N + 1] of each object, after those of the background, which are no object's: 0."""
    counts = torch.bincount(masks.maps.flatten(), minlength=len(masks) + 1)
    counts[0] = 0
    return counts


def _of_an_object(truth: Segmentation | None, rng: np.random.Generator) -> Pixel | None:
    """A pixel of an object."""
    objects = None if truth is None else truth.instances
    if objects is None or objects.masks is None or len(objects) == 0:
        return None
    number = int(rng.integers(1, len(objects) + 1))
    return _one_of((objects.masks.maps == number).any(0), rng)


def _one_of(mask: Tensor, rng: np.random.Generator) -> Pixel | None:
    """One of the pixels where a mask is True, each as likely."""
    places = mask.flatten().nonzero()[:, 0]
    if len(places) == 0:
        return None
    place = int(places[rng.integers(len(places))])
    return np.array(np.unravel_index(place, tuple(mask.shape)), np.int64)
