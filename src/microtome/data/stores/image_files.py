"""Image files that are decoded whole: PNG, JPEG, BMP and TIFF of ordinary size, in unit range.

A file is decoded once, when it is opened, and its raw pixels are kept; `read` turns a region of
them into unit range. What a file is, its first bytes say, not its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...geometry import Region, Spacing
from ...structures import Intensity
from .arrays import measure, thinned
from .channels import ChannelPolicy, choose
from .decoded import Decoded, Levels
from .decoding import check_finite, decode
from .places import name_of
from .selection import given_spacing
from .source import Source, SourceInfo
from .unit_range import in_unit_range, measured_levels, stated_levels

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class ImageFile(Source):
    """The raw pixels of a file in memory, read out in unit range."""

    def __init__(
        self, file: Path, decoded: Decoded, levels: Sequence[Levels], stated: bool
    ) -> None:
        self._raw, self._levels, self._stated = decoded.values, tuple(levels), stated
        shape, dtype = decoded.values.shape[1:], str(decoded.values.dtype)
        self.info = SourceInfo(name_of(file), shape, decoded.channels, decoded.spacing, dtype)

    @cached_property
    def intensity(self) -> Intensity:
        """Levels and statistics of the whole file."""
        return measure(self.read(thinned(self.info.shape)), self._levels, self._stated)

    def read(self, region: Region) -> npt.NDArray[np.float32]:
        """[C, *region] in unit range; values beyond stated levels are clipped to 0 and 1."""
        return in_unit_range(self._raw[(slice(None), *region)], self._levels)


def open_image_file(
    file: Path,
    spacing: float | Spacing | Sequence[float] | None,
    levels: Levels | Sequence[Levels] | None,
    channels: ChannelPolicy | Sequence[int | str],
) -> ImageFile:
    """Decode a file; the arguments are those of `open_source`."""
    decoded = decode(file)
    check_finite(file, decoded.values)
    choice = choose(file, decoded.channels, channels)
    values = choice.of(decoded.values[list(choice.read)])
    decoded = decoded._replace(values=values, channels=choice.names)
    if spacing is not None:
        decoded = decoded._replace(spacing=given_spacing(file, spacing, values.ndim - 1))
    given = decoded.levels if levels is None else levels
    if given is None:
        return ImageFile(file, decoded, measured_levels(values, choice.names), False)
    return ImageFile(file, decoded, stated_levels(file, given, len(values), values.dtype), True)
