"""Regions of a zarr array on disk, read chunk by chunk without zarr's event loop.

zarr-python spends most of a small read between its tasks; compiled pipelines (`zarrs`,
tensorstore) keep threads that do not survive a fork, so that forked loader workers wait for ever.
Here each chunk is one `pread` and one decoder call, in the thread that asks: loader workers are
the parallelism. No decoded chunk is kept.
"""

from __future__ import annotations

import os
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ...geometry import Region, Shape, extent
from .decoded import Raw
from .source import ImageReadError
from .zarr_chunks import Chunks, name_of_chunk, overlapping
from .zarr_codecs import CRC

MAX_CHUNK = 1 << 30  # bytes of one decoded chunk
_ABSENT = 2**64 - 1  # offset and length of a chunk that a shard does not hold
_SPARE = 64  # bytes that a codec may add before compression, such as a checksum


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
