"""Images made as large as a model was trained for, and results brought back to where they belong.

C channels, K classes, D axes, *S spatial shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import floor
from typing import NamedTuple

from torch import Tensor

from ..geometry import Shape, Spacing
from ..layers import resize_maps
from ..structures import Boxes, DataSample, Segmentation
from ..structures.nearest import nearest


class Resize(NamedTuple):
    """All axes by one factor, so that the shortest becomes `shortest` pixels long.

    Attributes:
        shortest: pixels of the shortest axis, unless
        longest: the longest axis would become longer than this.
    """

    shortest: int
    longest: int

    def checked(self) -> Resize:
        """Return itself, or raise ValueError for sizes that cannot be."""
        if not 0 < self.shortest <= self.longest:
            raise ValueError(f"expected 0 < shortest <= longest, got {self}")
        return self

    def shape(self, have: Sequence[int]) -> Shape:
        """*S of an image that has the shape `have`; rounded down, as torchvision does."""
        factor = min(self.shortest / min(have), self.longest / max(have))
        return tuple(max(1, floor(size * factor)) for size in have)


def resized(sample: DataSample, shape: Shape) -> DataSample:
    """Image, truth and spacing of a sample that is made as large as `shape`."""
    return replace(
        sample,
        image=resized_image(sample.image, shape),
        truth=None if sample.truth is None else resized_truth(sample.truth, shape),
        spacing=scaled(sample.spacing, sample.shape, shape),
    )


def resized_image(image: Tensor, shape: Shape) -> Tensor:
    """[C, *S] -> [C, *shape], linearly."""
    return resize_maps(image[None], shape)[0]


def resized_truth(truth: Segmentation, shape: Shape) -> Segmentation:
    """Truth of a resized image: boxes scaled, pixels from the nearest ones.

    Objects keep their boxes even where no pixel of them is left.
    """
    classes, objects = truth.classes, truth.instances
    if classes is not None:
        classes = nearest(classes[None], shape)[0]
    if objects is not None and objects.masks is not None:
        have = objects.masks.maps.shape[1:]
        boxes = objects.boxes or Boxes(objects.masks.boxes().float())
        masks = objects.masks.resize(shape)
        objects = replace(objects, boxes=boxes.resize(have, shape), masks=masks)
    return Segmentation(classes, objects)


def restored(result: Segmentation, shape: Shape) -> Segmentation:
    """A result at the shape of the source; one that is there already, as it is."""
    scores, objects = result.scores, result.instances
    if scores is not None and tuple(scores.shape[1:]) != shape:
        scores = resize_maps(scores[None], shape)[0]
    if objects is not None and objects.masks is not None:
        have = tuple(objects.masks.maps.shape[1:])
        if have != shape:
            boxes = objects.boxes and objects.boxes.resize(have, shape)
            masks, kept = objects.masks.resize(shape).present()
            objects = replace(replace(objects, boxes=boxes, masks=None)[kept], masks=masks)
    return replace(result, scores=scores, instances=objects)


def scaled(spacing: Spacing | None, have: Shape, want: Shape) -> Spacing | None:
    """Micrometres per pixel of a resized image."""
    if spacing is None:
        return None
    return tuple(s * a / b for s, a, b in zip(spacing, have, want, strict=True))
