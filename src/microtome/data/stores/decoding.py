"""From a file to raw pixels: which decoder, and one kind of error whatever goes wrong in it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError

from .archives import is_folder, opened, size_of
from .damage import damage
from .decoded import Decoded, Raw
from .pictures import decode_picture
from .source import ImageReadError
from .tiff import decode_tiff

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def decode(file: Path, *, indices: bool = False) -> Decoded:
    """Decode by the first bytes; every failure becomes an ImageReadError."""
    if size_of(file) is None:
        raise ImageReadError(file, "is a folder" if is_folder(file) else "no such file")
    try:
        with damage(file), opened(file) as stream:
            decoder = decode_tiff if stream.read(4) in TIFF else decode_picture
            stream.seek(0)
            decoded = decoder(file, stream, indices=indices)
    except ImageReadError as error:
        if isinstance(error.__cause__, UnidentifiedImageError):
            reason = "is not a PNG, JPEG, BMP or TIFF image, or damaged"
            raise ImageReadError(file, reason) from None
        raise
    if decoded.values.dtype.kind not in "buif" or not decoded.values.size:
        shape = list(decoded.values.shape)
        raise ImageReadError(file, f"expected real pixels, got {decoded.values.dtype} {shape}")
    return decoded._replace(values=np.ascontiguousarray(decoded.values))


def check_finite(file: str | os.PathLike[str], values: Raw) -> None:
    """Refuse NaN and infinity."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ImageReadError(file, f"{bad:,} values are NaN or infinite; replace them first")
