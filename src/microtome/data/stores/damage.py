"""One kind of error, whatever goes wrong in a decoder."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from .source import ImageReadError

# what Pillow, tifffile, imagecodecs, zarr and HDF5 raise on damaged files, as fuzzing showed
_DAMAGE: tuple[type[Exception], ...] = (
    OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError,
    AssertionError, EOFError, MemoryError, SyntaxError, Warning,
    struct.error, zlib.error, zipfile.BadZipFile, Image.DecompressionBombError,
)  # fmt: skip


@contextmanager
def damage(file: str | os.PathLike[str], *more: type[Exception]) -> Iterator[None]:
    """Turn what a decoder raises (and `more`) into an ImageReadError that names the file."""
    try:
        yield
    except (*_DAMAGE, *more) as error:
        reason = str(error) or type(error).__name__
        raise ImageReadError(file, f"cannot be read ({reason})") from error
