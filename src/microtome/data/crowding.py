"""How many objects one crop can meet: a head of queries needs as many."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil

import numpy as np
from scipy.ndimage import find_objects

from ..geometry import per_axis
from .truth import Integers

MOST_IDS = 1 << 22
Window = int | Sequence[int]  # pixels, one number or one per axis


def most_met(layers: Integers, window: Window | None) -> int | None:
    """Count the objects that a window meets at the fullest place, each by its bounding box.

    Args:
        layers: [K, *S] ids, 0 is background.
        window: larger than the image along an axis, it sees all of that axis; None counts nothing,
            and so does one of other axes, which cannot be cut.
    """
    dims = layers.ndim - 1
    if window is None or not (isinstance(window, int) or len(window) == dims):
        return None
    sizes = per_axis(window, dims)
    places = [max(1, s - w + 1) for s, w in zip(layers.shape[1:], sizes, strict=True)]
    steps = np.zeros([n + 1 for n in places], np.int32)  # added up, the objects met at a place
    for ids in layers:
        for box in _boxes(ids):
            ends = [  # the first place that meets it, and the first after those that do
                (min(max(0, side.start - w + 1), n - 1), min(side.stop, n))
                for side, w, n in zip(box, sizes, places, strict=True)
            ]
            for corner in product((0, 1), repeat=len(ends)):
                at = tuple(end[which] for end, which in zip(ends, corner, strict=True))
                steps[at] += (-1) ** sum(corner)
    for axis in range(steps.ndim):
        np.cumsum(steps, axis, out=steps)  # in place: volumes are large
    return int(steps.max())


def seen_at_once(crop: Window, lowest_scale: float) -> Window:
    """Pixels of the file that a crop shows when the image is resized by the lowest scale before."""
    if isinstance(crop, int):
        return ceil(crop / lowest_scale)
    return [ceil(size / lowest_scale) for size in crop]


def _boxes(ids: Integers) -> list[tuple[slice, ...]]:
    """The bounding box of each object; `find_objects` keeps a list as long as the highest id."""
    if ids.max(initial=0) > MOST_IDS:
        values, dense = np.unique(ids, return_inverse=True)
        ids = dense.reshape(ids.shape) + (0 if values[0] == 0 else 1)
    return [box for box in find_objects(ids) if box is not None]
