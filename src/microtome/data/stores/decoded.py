"""What the decoders of all file formats hand on, before any policy is applied."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...geometry import Spacing

Raw = npt.NDArray[Any]
Levels = tuple[float, float]

GREY = ("grey",)
COLOUR = ("red", "green", "blue")
ALPHA = "alpha"


class Decoded(NamedTuple):
    """The raw pixels of a file.

    Attributes:
        values: [C, *S] as stored, EXIF orientation applied.
        channels: C names.
        levels: black and white where the type says them (1 to 15 bits), else None.
        spacing: micrometres per pixel and axis where the file states a unit, else None.
    """

    values: Raw
    channels: tuple[str, ...]
    levels: Levels | None = None
    spacing: Spacing | None = None


def levels_of(dtype: np.dtype[Any], bits: int) -> Levels | None:
    """Black and white of unsigned integers below 16 bits; what 16 bits hold, nobody can know."""
    unsigned = dtype.kind in "bu"
    return (0.0, float(2**bits - 1)) if unsigned and bits < 16 else None


def oriented(values: Raw, orientation: int) -> Raw:
    """Turn [..., y, x] as the EXIF tag 274 says (1…8; anything else counts as 1)."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(-2, -1)
    if orientation in (3, 4, 7, 8):
        values = values[..., ::-1, :]
    if orientation in (2, 3, 6, 7):
        values = values[..., ::-1]
    return values
