"""What every source promises: what is known of it, its intensities, its pixels by region."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...geometry import Region, Shape, Spacing
from ...structures import Intensity


class ImageReadError(Exception):
    """The one exception a reader lets out: it names the file and the reason."""

    def __init__(self, file: str | os.PathLike[str], reason: str = "") -> None:
        # Both stay in `args`, so that the error survives pickling between loader processes.
        super().__init__(str(file), reason)
        self.file, self.reason = str(file), reason

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}" if self.reason else self.file


class SourceInfo(NamedTuple):
    """What is known of a source without reading its pixels twice.

    Attributes:
        name: what outputs made from it are called (a file's stem).
        shape: *S.
        channels: C names.
        spacing: micrometres per pixel and axis, None when unknown.
        dtype: the type of the raw values.
        affine: 4 x 4, from voxel numbers x, y, z to millimetres (right, anterior, superior), of
            files that state one; see `nifti`.
    """

    name: str
    shape: Shape
    channels: tuple[str, ...]
    spacing: Spacing | None
    dtype: str
    affine: tuple[tuple[float, ...], ...] | None = None


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

    def coarser(self) -> tuple[Source, Shape] | None:
        """The next level of its pyramid in the same unit range, for pictures.

        Also says how many pixels became one, per axis. None where there is none.
        """
        return None
