"""A store of labels for tests and benchmarks, which asks little of memory and nothing of a library.

*S the image's shape.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..geometry import Region, Shape, extent, window
from .known_objects import pieces


class LabelsOnDisk:
    """A store of labels in one file, chunk after chunk, which a later run opens again.

    Args:
        file: a path; None keeps the labels in memory.
        shape: *S.
        chunk: what regions are aligned to, which is checked.
        dtype: of the labels.

    Attributes:
        writes: how often a region was written.
        finished: whether `finish` was called.
    """

    def __init__(
        self, file: Path | None, shape: Shape, chunk: Shape, dtype: npt.DTypeLike = np.uint32
    ) -> None:
        self.file, self.shape, self.chunk, self.dtype = file, shape, chunk, dtype
        self.writes, self.finished = 0, False
        self._stored = (*(-(-s // c) for s, c in zip(shape, chunk, strict=True)), *chunk)
        self._held = np.zeros(self._stored, dtype) if file is None else None
        if file is not None and not file.exists():
            np.memmap(file, dtype, "w+", shape=self._stored)

    @property
    def values(self) -> npt.NDArray[Any]:
        """[*S] what was written."""
        return self.read(window(self.shape))

    def read(self, region: Region) -> npt.NDArray[Any]:
        """[*region] what was written."""
        chunks = self._opened()
        values = np.empty(extent(region), self.dtype)
        for place, inside, there in pieces(region, self.chunk):
            values[there] = chunks[place][inside]
        return values

    def write(self, region: Region, values: npt.NDArray[Any]) -> None:
        """Write; raises ValueError for a region that is not aligned."""
        for part, chunk, size in zip(region, self.chunk, self.shape, strict=True):
            if part.start % chunk or (part.stop % chunk and part.stop != size):
                raise ValueError(f"{region} is not aligned to {self.chunk}")
        chunks = self._opened()
        for place, inside, there in pieces(region, self.chunk):
            chunks[place][inside] = values[there]
        self.writes += 1

    def finish(self) -> None:
        """Remember that this was called."""
        self.finished = True

    def _opened(self) -> npt.NDArray[Any]:
        """All chunks; opened anew at each use, so that what was written takes no memory."""
        if self._held is not None:
            return self._held
        assert self.file is not None
        return np.memmap(self.file, self.dtype, "r+", shape=self._stored)
