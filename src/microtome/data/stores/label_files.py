"""Masks and label maps: integer pixels that must arrive exactly as they were saved."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .decoded import ALPHA
from .decoding import check_finite, decode
from .source import ImageReadError


def read_labels(path: str | os.PathLike[str]) -> npt.NDArray[np.integer]:
    """Read a mask or label map [*S] as stored: palette indices, 8 to 64 bits, EXIF turned.

    Colour masks are refused unless all channels are equal, floats unless they are whole numbers.
    Raises ImageReadError with the reason.
    """
    file = Path(path)
    decoded = decode(file, indices=True)
    values = decoded.values[: -1 if decoded.channels[-1] == ALPHA else None]
    if len(values) > 1 and (values[1:] != values[:1]).any():
        raise ImageReadError(
            file,
            f"has {len(values)} channels that differ: a picture of classes, not their numbers; "
            "save it as a grey or palette image whose values are the class indices",
        )
    labels = values[0]
    if labels.dtype.kind == "f":
        check_finite(file, labels)
        if (labels != np.round(labels)).any():
            raise ImageReadError(file, "holds fractions, so it is no label map; was it resampled?")
        labels = labels.astype(np.int64)
    if labels.size and labels.min() < 0:
        raise ImageReadError(file, f"holds the negative value {labels.min()}; labels start at 0")
    return np.asarray(labels.astype(np.uint8) if labels.dtype == bool else labels)
