"""Where images come from, by region: one interface over image files, volumes, slides and databases."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...geometry import Region, Shape, Spacing
from ...structures import Intensity

__all__ = ["ImageReadError", "Source", "SourceInfo"]


class ImageReadError(Exception):
    """The one exception a reader lets out: it names the file and the reason."""


class SourceInfo(NamedTuple):
    """What is known of a source without reading its pixels twice.

    Attributes:
        name: what outputs made from it are called (a file's stem).
        shape: *S.
        channels: C names.
        spacing: micrometres per pixel and axis, None when unknown.
        dtype: the type of the raw values.
    """

    name: str
    shape: Shape
    channels: tuple[str, ...]
    spacing: Spacing | None
    dtype: str


class Source(ABC):
    """An image that is read by region."""

    info: SourceInfo

    @property
    @abstractmethod
    def intensity(self) -> Intensity:
        """Levels and statistics, measured once, over the whole source."""

    @abstractmethod
    def read(self, region: Region) -> npt.NDArray[np.float32]:
        """[C, *region] in unit range."""
