"""How many objects one crop can meet: a head of queries needs as many."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil
from typing import NamedTuple

import numpy as np
from scipy.ndimage import find_objects

from ..geometry import Region, Shape, per_axis
from .truth import Integers

Window = int | Sequence[int]  # pixels, one number or one per axis


class Crowd(NamedTuple):
    """What windows of one shape meet in an image, each object by its bounding box.

    Attributes:
        most: objects at the fullest place.
        empty: the share of all places where there is none.
    """

    most: int
    empty: float


def crowd_of(boxes: Sequence[Region], shape: Shape, window: Window | None) -> Crowd | None:
    """Count the objects that a window meets at every place of an image of `shape`.

    Args:
        boxes: of the objects.
        shape: of the image.
        window: larger than the image along an axis, it sees all of that axis; None counts nothing,
            and so does one of other axes, which cannot be cut.
    """
    if window is None or not (isinstance(window, int) or len(window) == len(shape)):
        return None
    sizes = per_axis(window, len(shape))
    places = [max(1, s - w + 1) for s, w in zip(shape, sizes, strict=True)]
    steps = np.zeros([n + 1 for n in places], np.int32)  # added up, the objects met at a place
    for box in boxes:
        ends = [  # the first place that meets it, and the first after those that do
            (min(max(0, side.start - w + 1), n - 1), min(side.stop, n))
            for side, w, n in zip(box, sizes, places, strict=True)
        ]
        for corner in product((0, 1), repeat=len(ends)):
            at = tuple(end[which] for end, which in zip(ends, corner, strict=True))
            steps[at] += (-1) ** sum(corner)
    for axis in range(steps.ndim):
        np.cumsum(steps, axis, out=steps)  # in place: volumes are large
    met = steps[tuple(slice(0, n) for n in places)]
    return Crowd(int(met.max()), float((met == 0).mean()))


def boxes_of(layers: Integers) -> list[Region]:
    """The bounding boxes of the objects in layers [K, *S] of their numbers."""
    return [box for numbers in layers for box in find_objects(numbers) if box is not None]


def seen_at_once(crop: Window, lowest_scale: float) -> Window:
    """Pixels of the file that a crop shows when the image is resized by the lowest scale before."""
    if isinstance(crop, int):
        return ceil(crop / lowest_scale)
    return [ceil(size / lowest_scale) for size in crop]
