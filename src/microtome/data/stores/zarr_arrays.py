"""Zarr arrays (format 2 and 3) on disk or at an fsspec URL, read by region."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ...geometry import Region
from .damage import damage
from .decoded import Raw, levels_of
from .places import is_url
from .source import ImageReadError
from .stored import Layout, PerProcess, Stored
from .zarr_chunks import chunks_of, overlapping
from .zarr_reading import MAX_CHUNK, read_chunks

METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
Node = zarr.Group | zarr.Array[Any]


def is_zarr(folder: Path) -> bool:
    """Whether a folder holds a zarr group or array."""
    return any((folder / name).is_file() for name in METADATA)


def open_node(place: str | os.PathLike[str]) -> Node:
    """Open a group or array for reading, of either format.

    Raises ImageReadError when there is none or its metadata is damaged.
    """
    path = str(place)
    if not is_url(path) and not is_zarr(Path(path)):
        reason = "is no zarr group or array" if Path(path).is_dir() else "no such file or folder"
        raise ImageReadError(path, reason)
    with damage(path, ImportError):
        return zarr.open(path, mode="r")


class ZarrArray(Stored):
    """One array of a zarr store.

    Args:
        place: folder or URL of the array.
        axes: its letters, in stored order.
        spacing: micrometres by letter.
        channels: their names.
        complete: its writer says that all chunks are there, so that a missing one is an error;
            otherwise a missing chunk is the array's fill value, as zarr has it.
        coarser: opens the next level of its pyramid.
    """

    def __init__(
        self,
        place: str,
        axes: str,
        *,
        spacing: Mapping[str, float] | None = None,
        channels: tuple[str, ...] = (),
        complete: bool = False,
        coarser: Callable[[], Stored] | None = None,
    ) -> None:
        self.file, self._coarser = place, coarser
        self._handle = PerProcess(partial(_array, place))
        array = self._handle()
        native = np.dtype(array.dtype).newbyteorder("=")
        bits = 1 if native.kind == "b" else 8 * native.itemsize
        self.layout = Layout(
            axes, array.shape, native, array.chunks, dict(spacing or {}), channels,
            levels_of(native, bits),
        )  # fmt: skip
        local = None if is_url(place) else Path(place)
        self._complete = complete
        with damage(place):
            self._chunks = None if local is None else chunks_of(array, local, complete)

    def read(self, region: Region) -> Raw:
        """The values of a region; see `Stored`."""
        with damage(self.file):
            if self._chunks is not None:
                return read_chunks(self._chunks, region)
            return self._by_zarr(region)

    def coarser(self) -> Stored | None:
        """The next level of its pyramid."""
        return None if self._coarser is None else self._coarser()

    def _by_zarr(self, region: Region) -> Raw:
        array = self._handle()
        size = array.shards or array.chunks
        claimed = int(np.prod(array.chunks)) * self.layout.dtype.itemsize
        if claimed > MAX_CHUNK:
            raise ImageReadError(self.file, f"claims chunks of {claimed:,} bytes; rechunk it")
        if self._complete:
            store, below = array.store_path.store, array.store_path.path
            for place in overlapping(region, size):
                key = "/".join(filter(None, (below, array.metadata.encode_chunk_key(place))))
                if not zarr.core.sync.sync(store.exists(key)):
                    raise ImageReadError(
                        self.file, f"chunk {list(place)} is missing, though the store says it is "
                        "complete",
                    )  # fmt: skip
        return np.asarray(array[region])


def _array(place: str) -> zarr.Array[Any]:
    node = open_node(place)
    if not isinstance(node, zarr.Array):
        raise ImageReadError(place, "is a zarr group, expected an array")
    return node
