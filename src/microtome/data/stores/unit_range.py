"""From raw values to unit range: black is 0, white is 1."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .decoded import COLOUR, Levels, Raw
from .source import ImageReadError


def in_unit_range(raw: Raw, levels: Sequence[Levels]) -> npt.NDArray[np.float32]:
    """[C, ...] with black at 0 and white at 1; what lies beyond is clipped."""
    # float32 holds integers up to 2^24 exactly; wider types subtract black in float64 first
    narrow = raw.dtype.itemsize <= 2 or raw.dtype == np.float32
    unit: npt.NDArray[np.floating] = raw.astype(np.float32 if narrow else np.float64, order="C")
    for channel, (black, white) in zip(unit, levels, strict=True):
        channel -= black
        channel /= white - black
    return np.clip(unit, 0, 1, out=unit).astype(np.float32, copy=False)


def stated_levels(
    file: str | os.PathLike[str], levels: Levels | Sequence[Levels], count: int, dtype: object
) -> tuple[Levels, ...]:
    """One (black, white) per channel from what the type or the user says.

    Raises ImageReadError when they fit neither one nor all channels, or white is not above black.
    """
    pairs = np.asarray(levels, np.float64)
    if pairs.shape not in ((2,), (1, 2), (count, 2)) or (pairs[..., 0] >= pairs[..., 1]).any():
        raise ImageReadError(
            file,
            f"levels must be (black, white) with black below white, once or for each of {count} "
            f"channels of {dtype}; got {pairs.tolist()}",
        )
    return tuple((b, w) for b, w in np.broadcast_to(pairs, (count, 2)).tolist())


def measured_levels(values: Raw, channels: tuple[str, ...]) -> tuple[Levels, ...]:
    """Minimum and maximum per channel [C, ...], of red, green and blue together."""
    axes = tuple(range(0 if channels == COLOUR else 1, values.ndim))
    low = np.broadcast_to(values.min(axes), len(values)).tolist()
    high = np.broadcast_to(values.max(axes), len(values)).tolist()
    return tuple(
        (float(b), float(w) if w > b else float(b) + 1.0) for b, w in zip(low, high, strict=True)
    )
