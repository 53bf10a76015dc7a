"""One image, what is in it, and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ..geometry import Placement, Region, Shape, Spacing, extent, window
from .instances import Instances
from .tensor_tree import TensorTree


@dataclass(frozen=True)
class Segmentation(TensorTree):
    """What is in one image: the truth, a head's targets and a result are all this type.

    Attributes:
        classes: [*S] class of each pixel; ignored pixels hold `ignore_index`, in instance data too.
        instances: the objects.
        scores: [K, *S] in a result only: what tiled inference blends before it decides.
    """

    classes: Tensor | None = None
    instances: Instances | None = None
    scores: Tensor | None = None

    parts: ClassVar[Mapping[str, Any]] = {"instances": Instances}

    def crop(self, region: Region) -> Segmentation:
        """Cut a region out, its slices having a start and a stop.

        Objects without a pixel left are dropped; boxes follow the masks, if there are any.
        """
        cut = self.instances
        if cut is not None and cut.masks is not None:
            cut = cut.follow(cut.masks.crop(region))
        elif cut is not None:
            cut = cut.within([s.start for s in region], [1] * len(region), extent(region))
        return Segmentation(
            None if self.classes is None else self.classes[region],
            cut,
            None if self.scores is None else self.scores[(slice(None), *region)],
        )

    def with_classes(self) -> Segmentation:
        """Where there is no class map, make it of the objects: their labels, and 0 elsewhere."""
        objects = self.instances
        if self.classes is not None or objects is None or objects.masks is None:
            return self
        table = torch.cat([objects.labels.new_zeros(1), objects.labels]).long()
        maps = objects.masks.maps
        classes = table[maps[0].long()]
        for layer in maps[1:]:
            classes = torch.where(layer > 0, table[layer.long()], classes)
        return replace(self, classes=classes)

    def with_scores(self, num_classes: int) -> Segmentation:
        """Where there are no scores, make them of the objects: [K, *S], the semantic view.

        A pixel has for each class the score of the best object there, 1 where objects have no
        scores, and for class 0 what that leaves of 1.
        """
        objects = self.instances
        if self.scores is not None or objects is None or objects.masks is None:
            return self
        labels = torch.cat([objects.labels.new_zeros(1), objects.labels]).long()
        sure = torch.ones_like(objects.labels, dtype=torch.float32)
        own = sure if objects.scores is None else objects.scores.float()
        own = torch.cat([own.new_zeros(1), own])
        maps = objects.masks.maps.long()
        scores = own.new_zeros(num_classes, *maps.shape[1:])
        scores.scatter_reduce_(0, labels[maps], own[maps], "amax")
        scores[0] = torch.maximum(scores[0], 1 - scores.amax(0))
        return replace(self, scores=scores)

    def pad(self, canvas: Shape, ignore_index: int) -> Segmentation:
        """Pad at the far ends: classes with `ignore_index`, objects with background.

        Where there are masks of objects and no class map, one is made, because it alone can say
        that nothing is known of the padding. Boxes without masks say nothing of background.
        """
        classes, instances = self.with_classes().classes, self.instances
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
class DataSample(TensorTree):
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

    @property
    def device(self) -> torch.device:
        """Where the image is."""
        return self.image.device

    @property
    def metainfo(self) -> dict[str, Any]:
        """What is known of the image and is no data, by name."""
        return {name: value for name, value in self._known() if name not in ("image", "truth")}

    def keys(self) -> list[str]:
        """The data there are: `image`, and `truth` when known."""
        return [name for name, _ in self._known() if name in ("image", "truth")]

    def __getitem__(self, name: str) -> Any:
        """`sample["image"]`, `sample["truth"]`; raises KeyError for what is not known."""
        if name not in self.keys():
            raise KeyError(f"{name!r}: the data are {self.keys()}, the rest is in `metainfo`")
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    parts: ClassVar[Mapping[str, Any]] = {
        "truth": Segmentation,
        "placement": Placement,
        "intensity": Intensity,
    }

    def pin_memory(self) -> DataSample:
        """Pin the image, so that a loader's copies to a GPU overlap with work."""
        return replace(self, image=self.image.pin_memory())
