"""How the chunks of a zarr array lie on disk, and which of them a region touches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from zarr.core.metadata import ArrayV3Metadata

from ...geometry import Region, Shape
from .zarr_codecs import Decode, codecs_v2, codecs_v3


class Chunks(NamedTuple):
    """How the chunks of an array lie on disk.

    Attributes:
        folder: of the array.
        shape: of the array.
        file: elements per axis in one file.
        chunk: elements per axis that are compressed together; less than `file` in a shard.
        dtype: with byte order.
        order: C or F.
        key: what stands before and between the numbers of a chunk in its file's name.
        decoders: from bytes to pixels, in the order of decoding.
        indexed: where the index of a shard is, "start" or "end"; "" without shards.
        fill: the value of chunks that are not there.
        complete: a chunk that is not there is an error.
    """

    folder: Path
    shape: Shape
    file: Shape
    chunk: Shape
    dtype: np.dtype[Any]
    order: str
    key: tuple[str, str]
    decoders: tuple[Decode, ...]
    indexed: str
    fill: Any
    complete: bool


def chunks_of(array: zarr.Array[Any], folder: Path, complete: bool) -> Chunks | None:
    """How to read a local array directly; None for codecs that only zarr knows."""
    meta = array.metadata
    found = codecs_v3(meta) if isinstance(meta, ArrayV3Metadata) else codecs_v2(meta)
    if found is None or not array.ndim:
        return None
    decoders, chunk, indexed, byte_order, order = found
    file = array.shards or array.chunks
    dtype = np.dtype(array.dtype).newbyteorder(byte_order)  # type: ignore[arg-type]
    fill = meta.fill_value
    return Chunks(
        folder, array.shape, file, chunk or file, dtype, order, _key(array), decoders, indexed,
        0 if fill is None else fill, complete,
    )  # fmt: skip


def overlapping(region: Region, chunk: Shape) -> Iterator[Shape]:
    """The numbers of the chunks that a region touches."""
    if any(part.start >= part.stop for part in region):
        return iter(())
    spans = (
        range(part.start // size, (part.stop - 1) // size + 1)
        for part, size in zip(region, chunk, strict=True)
    )
    return product(*spans)


def name_of_chunk(chunks: Chunks, place: Shape) -> Path:
    """The file that holds chunk (or shard) number `place`."""
    before, between = chunks.key
    return chunks.folder / (before + between.join(map(str, place)))


def _key(array: zarr.Array[Any]) -> tuple[str, str]:
    """What zarr calls chunk 0, 0, ... taken apart: `c/0/0` is ("c/", "/")."""
    name = array.metadata.encode_chunk_key((0,) * array.ndim)
    before, _, rest = name.partition("0")
    return before, rest[:1]
