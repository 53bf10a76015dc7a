"""What both generators draw with: smooth noise and neighbourhoods, for any number of axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...geometry import Region

Floats = npt.NDArray[np.float32]
Numbers = Sequence[float] | npt.NDArray[np.floating]  # one per axis


class Drawing(NamedTuple):
    """A generated image with its truth.

    Attributes:
        image: [C, *S] raw camera values, uint8 or uint16.
        classes: [*S] uint8 class of each pixel.
        ids: [*S] int32, 0 where no object is, 1…N in the objects.
    """

    image: npt.NDArray[Any]
    classes: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.int32]


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], scale: Numbers) -> Floats:
    """Noise [*S] of mean 0 and standard deviation 1 whose features are about `scale` pixels wide.

    White noise on a grid of `scale` pixels, enlarged by cubic B-splines one axis after the other.
    """
    knots = [int(np.ceil(s / c)) + 4 for s, c in zip(shape, scale, strict=True)]
    field: Floats = rng.standard_normal(knots, dtype=np.float32)
    for axis, (size, width) in enumerate(zip(shape, scale, strict=True)):
        weights = _spline_weights(size, width, knots[axis], rng.random())
        field = np.moveaxis(np.tensordot(weights, field, (1, axis)), 0, axis)
    return np.ascontiguousarray((field - field.mean()) / max(float(field.std()), 1e-6))


def _spline_weights(size: int, width: float, knots: int, shift: float) -> Floats:
    """[size, knots]: the weight of each knot at each pixel of one axis."""
    at = np.arange(size)[:, None] / width + 1 + shift
    far = np.abs(at - np.arange(knots)[None])
    near, outer = 2 / 3 - far**2 + far**3 / 2, (2 - far).clip(0) ** 3 / 6
    return np.where(far < 1, near, outer).astype(np.float32)


def neighbourhood(
    centre: Numbers, reach: Numbers, shape: Sequence[int]
) -> tuple[Region, list[Floats]]:
    """The region within `reach` of `centre`, cut to the image, and its offsets from there per axis.

    The region is empty where the centre lies too far outside.
    """
    region, offsets = [], []
    for axis, (c, r, s) in enumerate(zip(centre, reach, shape, strict=True)):
        low = min(max(int(np.floor(c - r)), 0), s)
        high = min(max(int(np.ceil(c + r)) + 1, low), s)
        region.append(slice(low, high))
        along = [-1 if a == axis else 1 for a in range(len(shape))]
        offsets.append((np.arange(low, high, dtype=np.float32) - np.float32(c)).reshape(along))
    return tuple(region), offsets
