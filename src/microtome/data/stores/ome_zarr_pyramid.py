"""OME-Zarr that is written by region, from several processes, and finished by its pyramid.

Until then the group says that it is not complete, and readers refuse it. `finish` checks that every
chunk was written, makes the levels, and sets the mark as its last step.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from ...geometry import Region, Shape, window
from .decoded import Raw
from .downsampling import Reduce, reduced
from .ome_zarr import MARKER
from .selection import bounded
from .source import ImageReadError
from .stored import PerProcess
from .zarr_arrays import METADATA
from .zarr_chunks import Chunks, chunks_of, name_of_chunk, overlapping
from .zarr_reading import read_chunks


class PyramidStore:
    """An image or label image that is being written; it pickles.

    Attributes:
        path: of its group.
        shape: [*S] or [C, *S].
        dtype: of its values.
        chunk: what stands in one file, per axis: regions begin and end at its multiples.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open one that was created before, finished or not.

        Raises ImageReadError when microtome did not write it.
        """
        self.path = Path(path)
        marker: Any = _group(self.path).attrs.asdict().get(MARKER) or {}
        if "strides" not in marker:
            raise ImageReadError(self.path, "is no OME-Zarr group that microtome writes")
        self._strides = tuple(map(tuple, marker["strides"]))
        self._reduce: Reduce = marker["reduce"]
        levels = range(len(self._strides) + 1)
        self._arrays = [PerProcess(partial(_array, self.path / str(n))) for n in levels]
        self._chunks = [
            _chunks(array(), self.path / str(n)) for n, array in enumerate(self._arrays)
        ]
        finest = self._chunks[0]
        self.shape, self.chunk = finest.shape, finest.file
        self.dtype = finest.dtype.newbyteorder("=")

    def write(self, region: Region, values: npt.ArrayLike) -> None:
        """Write a region, whole chunks of it only; when this returns, it is on disk.

        Processes and threads may write different regions at the same time.

        Raises ValueError when the region cuts through chunks or the values do not fit.
        """
        region = bounded(region, self.shape)
        self._store(0, region, self._fitting(region, np.asarray(values)))

    def read(self, region: Region) -> Raw:
        """What was written, finished or not; 0 where nothing was."""
        return read_chunks(self._chunks[0], bounded(region, self.shape))

    def missing(self) -> list[Region]:
        """The regions, a chunk each, that were not written yet."""
        chunks = self._chunks[0]
        places = overlapping(window(chunks.shape), chunks.file)
        return [
            _region_of(chunks, place)
            for place in places
            if not name_of_chunk(chunks, place).is_file()
        ]

    def finish(self) -> None:
        """Make the coarser levels, then say that the store is complete.

        It can be called again after a stop in its middle.

        Raises ImageReadError when regions were never written; write zeros where nothing is.
        """
        left = self.missing()
        if left:
            first = ", ".join(f"{part.start}:{part.stop}" for part in left[0])
            reason = f"{len(left)} chunks were never written, the first at [{first}]"
            raise ImageReadError(self.path, reason)
        for level in range(1, len(self._chunks)):
            self._make(level)
        group = _group(self.path, "r+")
        marker: Any = group.attrs.asdict()[MARKER]
        group.attrs.update({MARKER: {**marker, "complete": True}})
        for name in METADATA:
            if (self.path / name).is_file():
                _sync(self.path / name)

    def _make(self, level: int) -> None:
        """Chunk by chunk of the new level, so that memory does not grow with the volume."""
        finer, chunks = self._chunks[level - 1], self._chunks[level]
        spatial = self._strides[level - 1]
        steps = (*(1,) * (len(chunks.shape) - len(spatial)), *spatial)
        for place in overlapping(window(chunks.shape), chunks.file):
            region = _region_of(chunks, place)
            covered = tuple(
                slice(part.start * f, min(part.stop * f, s))
                for part, f, s in zip(region, steps, finer.shape, strict=True)
            )
            self._store(level, region, reduced(read_chunks(finer, covered), steps, self._reduce))

    def _store(self, level: int, region: Region, values: Raw) -> None:
        self._arrays[level]()[region] = values
        chunks = self._chunks[level]
        for place in overlapping(region, chunks.file):
            _sync(name_of_chunk(chunks, place))

    def _fitting(self, region: Region, values: Raw) -> Raw:
        for part, size, chunk in zip(region, self.shape, self.chunk, strict=True):
            if part.start % chunk or (part.stop % chunk and part.stop != size):
                raise ValueError(
                    f"{region} cuts through chunks of {list(self.chunk)}: other processes may be "
                    "writing their other parts; begin and end at multiples of `chunk`"
                )
        expected = tuple(part.stop - part.start for part in region)
        if values.shape != expected:
            raise ValueError(f"expected values of shape {expected}, got {values.shape}")
        converted = values.astype(self.dtype, copy=False)
        if values.dtype != self.dtype and not np.array_equal(converted, values):
            raise ValueError(
                f"values of type {values.dtype} up to {values.max()} do not fit {self.dtype}"
            )
        return converted


def _region_of(chunks: Chunks, place: Shape) -> Region:
    return tuple(
        slice(p * c, min((p + 1) * c, s))
        for p, c, s in zip(place, chunks.file, chunks.shape, strict=True)
    )


def _group(path: Path, mode: Any = "r") -> zarr.Group:
    return zarr.open_group(path, mode=mode, use_consolidated=False)


def _array(folder: Path) -> zarr.Array[Any]:
    array = zarr.open_array(folder, mode="r+")
    return array.with_config({"write_empty_chunks": True})  # zeros are written, not left out


def _chunks(array: zarr.Array[Any], folder: Path) -> Chunks:
    chunks = chunks_of(array, folder, complete=False)
    if chunks is None:
        raise ImageReadError(folder, "has codecs that microtome does not write")
    return chunks


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
