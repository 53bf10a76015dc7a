"""From one level of a pyramid to the next: block means for images, nearest for labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ...geometry import Shape, Spacing, proposed_strides
from .decoded import Raw

Reduce = Literal["nearest", "mean"]
SMALLEST = 256  # pixels: a level whose axes are no longer is the last


def strides_for(shape: Shape, spacing: Spacing | None) -> tuple[Shape, ...]:
    """Strides of each coarser level, so that its pixels become cubes.

    An axis that is much coarser than the others is not halved until they have caught up.
    """
    levels = max((max(shape) - 1) // SMALLEST, 0).bit_length()
    return proposed_strides(spacing or (1.0,) * len(shape), (2,) * levels)


def coarser(shape: Shape, strides: Shape) -> Shape:
    """The shape of the next level; a last, incomplete block counts."""
    return tuple(-(-s // f) for s, f in zip(shape, strides, strict=True))


def reduced(values: Raw, strides: Sequence[int], by: Reduce) -> Raw:
    """One value per block of `strides`, in the same type; incomplete blocks at the far end too.

    "nearest" takes the first value of a block, so that labels stay labels. Means of integers are
    rounded.
    """
    if by == "nearest":
        return values[tuple(slice(None, None, f) for f in strides)]
    missing = [-s % f for s, f in zip(values.shape, strides, strict=True)]
    padded = np.pad(values, [(0, m) for m in missing], mode="edge")
    blocks = [n for s, f in zip(padded.shape, strides, strict=True) for n in (s // f, f)]
    means = padded.reshape(blocks).mean(tuple(range(1, len(blocks), 2)), dtype=np.float64)
    rounded = means if values.dtype.kind == "f" else np.rint(means)
    return np.asarray(rounded.astype(values.dtype))
