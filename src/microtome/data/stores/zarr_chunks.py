"""Regions of a zarr array on disk, read chunk by chunk without zarr's event loop.

zarr-python spends most of a small read between its tasks; compiled pipelines (`zarrs`,
tensorstore) keep threads that do not survive a fork, so that forked loader workers wait for ever.
Here each chunk is one `pread` and one decoder call, in the thread that asks: loader workers are
the parallelism. No decoded chunk is kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.metadata import ArrayV3Metadata

from ...geometry import Region, Shape, extent
from .decoded import Raw
from .source import ImageReadError
from .zarr_codecs import CRC, Decode, codecs_v2, codecs_v3

MAX_CHUNK = 1 << 30  # bytes of one decoded chunk
_ABSENT = 2**64 - 1  # offset and length of a chunk that a shard does not hold
_SPARE = 64  # bytes that a codec may add before compression, such as a checksum


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


def read_chunks(chunks: Chunks, region: Region) -> Raw:
    """The values of a region (starts and stops inside the array).

    Raises ImageReadError for a missing chunk of an array that is said to be complete, and for
    sizes that are too large; damaged chunks raise what their decoder raises.
    """
    claimed = prod(chunks.chunk) * chunks.dtype.itemsize
    if claimed > MAX_CHUNK:
        raise ImageReadError(chunks.folder, f"claims chunks of {claimed:,} bytes; rechunk it")
    out: Raw = np.empty(extent(region), chunks.dtype.newbyteorder("="))
    buffer = np.empty(claimed + _SPARE, np.uint8)
    for place in overlapping(region, chunks.file):
        _read_file(chunks, place, region, out, buffer)
    return out


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


def _read_file(
    chunks: Chunks, place: Shape, region: Region, out: Raw, buffer: npt.NDArray[np.uint8]
) -> None:
    try:
        handle = os.open(name_of_chunk(chunks, place), os.O_RDONLY)
    except FileNotFoundError:
        _fill(chunks, place, chunks.file, region, out)
        return
    try:
        if not chunks.indexed:
            encoded = _exactly(handle, os.fstat(handle).st_size, 0)
            _paste(chunks, encoded, place, region, out, buffer)
            return
        index = _index(chunks, handle)
        per_file = tuple(f // c for f, c in zip(chunks.file, chunks.chunk, strict=True))
        inside = _cut(place, chunks.file, region)
        for chunk in overlapping(inside, chunks.chunk):
            offset, length = index[tuple(c % n for c, n in zip(chunk, per_file, strict=True))]
            if offset == _ABSENT:
                _fill(chunks, chunk, chunks.chunk, region, out)
            else:
                encoded = _exactly(handle, int(length), int(offset))
                _paste(chunks, encoded, chunk, region, out, buffer)
    finally:
        os.close(handle)


def _index(chunks: Chunks, handle: int) -> npt.NDArray[np.uint64]:
    """[*chunks of a shard, 2] offsets and lengths; its checksum is verified."""
    counts = tuple(f // c for f, c in zip(chunks.file, chunks.chunk, strict=True))
    size = 16 * prod(counts) + 4
    total = os.fstat(handle).st_size
    encoded = _exactly(handle, size, 0 if chunks.indexed == "start" else total - size)
    return np.frombuffer(CRC.decode(encoded), "<u8").reshape(*counts, 2)


def _exactly(handle: int, length: int, offset: int) -> bytes:
    if offset < 0 or length < 0 or offset + length > os.fstat(handle).st_size:
        raise ValueError("a chunk reaches beyond the end of its file; is it truncated?")
    return os.pread(handle, length, offset)


def _paste(
    chunks: Chunks,
    encoded: bytes,
    place: Shape,
    region: Region,
    out: Raw,
    buffer: npt.NDArray[np.uint8],
) -> None:
    """Decode a chunk and copy what of it lies in the region."""
    data: Any = encoded
    for decode in chunks.decoders:
        data = decode(data, buffer)
    flat = np.frombuffer(data, np.uint8)
    expected = buffer.nbytes - _SPARE
    if flat.nbytes != expected:
        raise ValueError(f"a chunk holds {flat.nbytes:,} bytes, expected {expected:,}")
    values = flat.view(chunks.dtype).reshape(chunks.chunk, order=chunks.order)  # type: ignore[call-overload]
    both = _cut(place, chunks.chunk, region)
    starts = [p * c for p, c in zip(place, chunks.chunk, strict=True)]
    out[_moved(both, [part.start for part in region])] = values[_moved(both, starts)]


def _fill(chunks: Chunks, place: Shape, size: Shape, region: Region, out: Raw) -> None:
    if chunks.complete:
        raise ImageReadError(
            chunks.folder, f"chunk {list(place)} is missing, though the store says it is complete"
        )
    both = _cut(place, size, region)
    out[_moved(both, [part.start for part in region])] = chunks.fill


def _cut(place: Shape, size: Shape, region: Region) -> Region:
    """What a chunk and a region have in common."""
    return tuple(
        slice(max(p * s, part.start), min((p + 1) * s, part.stop))
        for p, s, part in zip(place, size, region, strict=True)
    )


def _moved(region: Region, start: list[int]) -> Region:
    return tuple(
        slice(part.start - s, part.stop - s) for part, s in zip(region, start, strict=True)
    )


def _key(array: zarr.Array[Any]) -> tuple[str, str]:
    """What zarr calls chunk 0, 0, ... taken apart: `c/0/0` is ("c/", "/")."""
    name = array.metadata.encode_chunk_key((0,) * array.ndim)
    before, _, rest = name.partition("0")
    return before, rest[:1]
