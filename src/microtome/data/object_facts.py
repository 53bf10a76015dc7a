"""How many objects there are, of which classes, how large and how close to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gamma, pi, prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..geometry import Shape, Spacing
from ..structures import LabelLayers
from .crowding import Crowd, Window, boxes_of, crowd_of

TILES = (128, 256, 512, 1024)
_LARGE = 1 << 24  # pixels; in larger images objects are not counted for each of the tiles
Floats = npt.NDArray[np.float64]


class ObjectFacts(NamedTuple):
    """The objects of one image.

    Attributes:
        counts: [K] how many there are of each class.
        sizes: [N] pixels of each.
        spacing: micrometres per pixel of the image.
        largest: pixels along each axis of the boxes of all, at most.
        crop: what training crops meet, None without crops.
        tiles: the most objects in a tile, by its size.
        lost: objects without a pixel.
    """

    counts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    spacing: Spacing | None
    largest: Shape
    crop: Crowd | None
    tiles: dict[int, int]
    lost: int = 0


@dataclass(frozen=True)
class ObjectSummary:
    """The objects of one split.

    Attributes:
        by_class: how many there are of each class.
        diameters: of the circle or ball as large as an object, in pixels: 5 %, half and 95 % of
            all objects are smaller; empty without objects.
        diameters_um: the same in micrometres, empty where an image's spacing is unknown.
        largest: pixels along each axis of the boxes of all, at most.
        empty_crops: share of the places of a training crop where there is no object; None where
            that was not counted.
        tiles: the most objects in a tile, by its size.
        lost: objects without a pixel.
    """

    by_class: tuple[int, ...]
    diameters: tuple[float, ...]
    diameters_um: tuple[float, ...]
    largest: Shape
    empty_crops: float | None
    tiles: dict[int, int]
    lost: int


def object_facts(
    layers: LabelLayers,
    labels: npt.NDArray[np.int64],
    num_classes: int,
    *,
    spacing: Spacing | None = None,
    crop: Window | None = None,
    lost: int = 0,
) -> ObjectFacts:
    """Measure the objects of an image; `labels` [N] are their classes."""
    maps = layers.maps.numpy()
    shape = maps.shape[1:]
    boxes = boxes_of(maps)
    extents = [[side.stop - side.start for side in box] for box in boxes]
    crowds = {t: crowd_of(boxes, shape, t) for t in TILES if prod(shape) <= _LARGE}
    return ObjectFacts(
        np.bincount(labels, minlength=num_classes),
        np.bincount(maps.ravel(), minlength=len(layers) + 1)[1:],
        spacing,
        tuple(np.max(extents, axis=0).tolist()) if extents else (0,) * len(shape),
        crowd_of(boxes, shape, crop),
        {tile: crowd.most for tile, crowd in crowds.items() if crowd is not None},
        lost,
    )


def summary(found: Sequence[ObjectFacts]) -> ObjectSummary | None:
    """All images of a split together; None where no image has objects that are counted."""
    if not found:
        return None
    axes = {len(f.largest) for f in found}
    crops = [f.crop.empty for f in found if f.crop is not None]
    tiles = {t: max(f.tiles.get(t, 0) for f in found) for t in TILES}
    known = all(f.spacing is not None for f in found)
    return ObjectSummary(
        by_class=tuple(np.sum([f.counts for f in found], axis=0).tolist()),
        diameters=_quantiles([_diameters(f, None) for f in found]),
        diameters_um=_quantiles([_diameters(f, f.spacing) for f in found]) if known else (),
        largest=tuple(np.max([f.largest for f in found], axis=0).tolist())
        if len(axes) == 1
        else (),
        empty_crops=float(np.mean(crops)) if crops else None,
        tiles={t: most for t, most in tiles.items() if most},
        lost=sum(f.lost for f in found),
    )


def _diameters(found: ObjectFacts, spacing: Spacing | None) -> Floats:
    """Of the ball with as much room: radius^D * pi^(D/2) / gamma(D/2 + 1)."""
    half = len(found.largest) / 2
    ball = found.sizes * prod(spacing or ()) * gamma(half + 1) / pi**half
    return np.asarray(2 * ball ** (0.5 / half), np.float64)


def _quantiles(values: Sequence[Floats]) -> tuple[float, ...]:
    together = np.concatenate(values)
    return tuple(np.quantile(together, (0.05, 0.5, 0.95)).tolist()) if len(together) else ()
