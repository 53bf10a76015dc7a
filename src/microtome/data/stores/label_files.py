"""Masks and label maps: integer pixels that must arrive exactly as they were saved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...geometry import Spacing
from ...structures.classes import MOST_OVERLAPPING
from .decoded import ALPHA, COLOUR, Raw
from .decoding import check_finite, decode
from .source import ImageReadError

Encoding = Literal["index", "channels", "ade20k"]


def decode_labels(
    path: str | os.PathLike[str], encoding: Encoding
) -> tuple[npt.NDArray[np.integer], Spacing | None]:
    """A mask or label map [*S] of an image file as stored, and the spacing that it states.

    `encoding` is that of `open_labels`; of `channels` all are returned, [K, *S].
    Raises ImageReadError with the reason.
    """
    file = Path(path)
    decoded = decode(file, indices=True)
    if encoding == "ade20k":
        values = _from_red_and_green(file, decoded.values, decoded.channels)
        return values, decoded.spacing
    values = decoded.values[: -1 if decoded.channels[-1] == ALPHA else None]
    if encoding == "channels":
        return values, decoded.spacing
    if len(values) > 1 and (values[1:] != values[:1]).any():
        raise ImageReadError(
            file,
            f"has {len(values)} channels that differ: a picture of classes, not their numbers; "
            "save it as a grey or palette image whose values are the class indices",
        )
    return integers(file, values[0]), decoded.spacing


def integers(file: str | os.PathLike[str], values: Raw) -> npt.NDArray[np.integer]:
    """Labels as integers: floats that are whole numbers become int64, bool uint8.

    Raises ImageReadError for fractions, NaN and negative values.
    """
    if values.dtype.kind == "f":
        check_finite(file, values)
        if (values != np.round(values)).any():
            raise ImageReadError(file, "holds fractions, so it is no label map; was it resampled?")
        values = values.astype(np.int64)
    if values.dtype.kind == "i" and values.size and values.min() < 0:
        raise ImageReadError(file, f"holds the negative value {values.min()}; labels start at 0")
    return np.asarray(values.astype(np.uint8) if values.dtype == bool else values)


def sets_of(file: str | os.PathLike[str], channels: npt.NDArray[np.integer]) -> Raw:
    """The number of the set of classes at each pixel, uint8 [*S], of one mask for each class.

    `channels` [K, *S] are 0, and 1 or 255 where the class is. Raises ImageReadError for others.
    """
    if len(channels) > MOST_OVERLAPPING:
        raise ImageReadError(
            file, f"has {len(channels)} channels; at most {MOST_OVERLAPPING} classes may overlap"
        )
    if not np.isin(channels, (0, 1)).all() and not np.isin(channels, (0, 255)).all():
        raise ImageReadError(file, "expected masks of 0 and 1, or 0 and 255, one channel a class")
    bits = 1 << np.arange(len(channels), dtype=np.uint8)
    return np.asarray(np.tensordot(bits, (channels > 0).astype(np.uint8), 1), np.uint8)


def _from_red_and_green(
    file: Path, values: Raw, channels: tuple[str, ...]
) -> npt.NDArray[np.integer]:
    if channels != COLOUR or values.dtype != np.uint8:
        raise ImageReadError(
            file, f"expected 8-bit red, green and blue, got {values.dtype} {', '.join(channels)}"
        )
    return np.asarray(values[0].astype(np.uint16) // 10 * 256 + values[1])
