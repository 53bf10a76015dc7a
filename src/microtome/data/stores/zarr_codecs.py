"""Decoders of zarr chunks that are read without zarr: what they are for an array's metadata."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
import numpy.typing as npt
from zarr import codecs
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

from ...geometry import Shape

Decode = Callable[[Any, npt.NDArray[np.uint8]], Any]  # of bytes, into a buffer where it can
Found = tuple[tuple[Decode, ...], Shape | None, str, str, str]

CRC = numcodecs.CRC32C(location="end")
_V3: dict[type[Any], Any] = {
    codecs.ZstdCodec: numcodecs.Zstd(),
    codecs.BloscCodec: numcodecs.Blosc(),
    codecs.GzipCodec: numcodecs.GZip(),
    codecs.Crc32cCodec: CRC,
}


def codecs_v2(meta: ArrayV2Metadata) -> Found:
    """Decoders; None, as there are no shards; ""; byte order; C or F."""
    compressor = () if meta.compressor is None else (meta.compressor,)
    decoders = tuple(_decoder(c) for c in (*compressor, *reversed(meta.filters or ())))
    return decoders, None, "", np.dtype(meta.dtype.to_native_dtype()).byteorder, meta.order


def codecs_v3(meta: ArrayV3Metadata) -> Found | None:
    """Decoders; chunk in a shard and where its index is, or None and ""; byte order; C.

    None when there are codecs that only zarr knows.
    """
    chain, chunk, index = meta.codecs, None, ""
    if isinstance(chain[0], codecs.ShardingCodec):
        shard = chain[0]
        by = [type(codec) for codec in shard.index_codecs]
        if len(chain) > 1 or by != [codecs.BytesCodec, codecs.Crc32cCodec]:
            return None
        chain, chunk, index = shard.codecs, shard.chunk_shape, shard.index_location.value
    known = all(type(codec) in _V3 for codec in chain[1:])
    if not known or not isinstance(chain[0], codecs.BytesCodec):
        return None
    decoders = tuple(_decoder(_V3[type(codec)]) for codec in reversed(chain[1:]))
    endian = getattr(chain[0].endian, "value", "little")
    return decoders, chunk, index, "<" if endian == "little" else ">", "C"


def _decoder(codec: Any) -> Decode:
    return _zstd if isinstance(codec, numcodecs.Zstd) else partial(_by_numcodecs, codec)


def _zstd(data: Any, buffer: npt.NDArray[np.uint8]) -> Any:
    """Into the buffer: what a frame claims is never allocated."""
    return imagecodecs.zstd_decode(data, out=buffer)  # type: ignore[arg-type]


def _by_numcodecs(codec: Any, data: Any, buffer: npt.NDArray[np.uint8]) -> Any:
    return codec.decode(data)
