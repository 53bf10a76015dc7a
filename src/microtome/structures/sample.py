"""One image, what is in it, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..geometry import Placement, Region, Shape, Spacing, window
from .instances import Instances


@dataclass(frozen=True)
class Segmentation:
    """What is in one image: the truth, a head's targets and a result are all this type.

    Attributes:
        classes: [*S] class of each pixel; ignored pixels hold `ignore_index`, in instance data too.
        instances: the objects.
        scores: [K, *S] in a result only: what tiled inference blends before it decides.
    """

    classes: Tensor | None = None
    instances: Instances | None = None
    scores: Tensor | None = None

    def to(self, device: torch.device | str) -> Segmentation:
        """Move every tensor."""
        return Segmentation(
            None if self.classes is None else self.classes.to(device),
            self.instances and self.instances.to(device),
            None if self.scores is None else self.scores.to(device),
        )

    def crop(self, region: Region) -> Segmentation:
        """Cut a region out; objects without a pixel left are dropped, boxes follow the masks."""
        cut = self.instances
        if cut is not None and cut.masks is not None:
            cut = cut.follow(cut.masks.crop(region))
        return Segmentation(
            None if self.classes is None else self.classes[region],
            cut,
            None if self.scores is None else self.scores[(slice(None), *region)],
        )

    def pad(self, canvas: Shape, ignore_index: int) -> Segmentation:
        """Pad at the far ends: classes with `ignore_index`, objects with background."""
        classes, instances = self.classes, self.instances
        if classes is not None:
            full = classes.new_full(canvas, ignore_index)
            full[window(classes.shape)] = classes
            classes = full
        if instances is not None and instances.masks is not None:
            instances = replace(instances, masks=instances.masks.pad(canvas))
        return Segmentation(classes, instances)

    def decided(self) -> Segmentation:
        """Replace scores by the class of the highest one."""
        if self.scores is None:
            return self
        return replace(self, classes=self.scores.argmax(0), scores=None)


class Intensity(NamedTuple):
    """What was measured of a source's intensities, once per *source* and never per tile.

    All statistics are per channel and in unit range (0 black, 1 white).

    Attributes:
        levels: the raw values of black and white.
        stated: True when `levels` follow from the type (8 bit) or were given; False when measured,
            which means that unit range is relative to this one source.
        mean, std, low, high: mean, standard deviation, 1st and 99.8th percentile.
    """

    levels: tuple[tuple[float, float], ...]
    stated: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class DataSample:
    """One image, what is in it, and where it came from.

    Attributes:
        image: [C, *S] in unit range: 0 is black, 1 is white.
        truth: what is in it, when known.
        spacing: micrometres per pixel and axis, array order; None when unknown.
        channels: C names.
        placement: where in its source this image lies; None for a whole source.
        intensity: statistics of the whole source, which normalisation needs.
        meta: anything else that is plain data; `meta["name"]` is what outputs are called.
    """

    image: Tensor
    truth: Segmentation | None = None
    spacing: Spacing | None = None
    channels: tuple[str, ...] = ()
    placement: Placement | None = None
    intensity: Intensity | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        """The spatial shape *S."""
        return tuple(self.image.shape[1:])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> DataSample:
        """Move image and truth."""
        return replace(
            self,
            image=self.image.to(device, non_blocking=non_blocking),
            truth=self.truth and self.truth.to(device),
        )

    def pin_memory(self) -> DataSample:
        """Pin the image, so that a loader's copies to a GPU overlap with work."""
        return replace(self, image=self.image.pin_memory())
