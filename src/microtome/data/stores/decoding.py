"""From a file to raw pixels: which decoder, and one kind of error whatever goes wrong in it."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from .archives import is_folder, opened, size_of
from .decoded import Decoded, Raw
from .pictures import decode_picture
from .source import ImageReadError
from .tiff import decode_tiff

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DAMAGE = (  # what Pillow, tifffile and imagecodecs raise on damaged files, as fuzzing showed
    OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError,
    AssertionError, EOFError, MemoryError, SyntaxError, Warning,
    struct.error, zlib.error, zipfile.BadZipFile, Image.DecompressionBombError,
)  # fmt: skip


def decode(file: Path, *, indices: bool = False) -> Decoded:
    """Decode by the first bytes; every failure becomes an ImageReadError."""
    if size_of(file) is None:
        raise ImageReadError(file, "is a folder" if is_folder(file) else "no such file")
    try:
        with opened(file) as stream:
            decoder = decode_tiff if stream.read(4) in _TIFF else decode_picture
            stream.seek(0)
            decoded = decoder(file, stream, indices=indices)
    except UnidentifiedImageError:
        raise ImageReadError(file, "is not a PNG, JPEG, BMP or TIFF image, or damaged") from None
    except _DAMAGE as error:
        raise ImageReadError(file, f"cannot be read ({error or type(error).__name__})") from error
    if decoded.values.dtype.kind not in "buif" or not decoded.values.size:
        shape = list(decoded.values.shape)
        raise ImageReadError(file, f"expected real pixels, got {decoded.values.dtype} {shape}")
    return decoded._replace(values=np.ascontiguousarray(decoded.values))


def check_finite(file: Path, values: Raw) -> None:
    """Refuse NaN and infinity."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ImageReadError(file, f"{bad:,} values are NaN or infinite; replace them first")
