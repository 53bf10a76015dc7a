"""PNG, JPEG and BMP by Pillow; 16-bit colour PNG, which Pillow cuts to 8 bits, by imagecodecs."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import imagecodecs
import numpy as np
from PIL import Image

from .decoded import ALPHA, COLOUR, GREY, Decoded, Raw, levels_of, oriented
from .source import ImageReadError

ORIENTATION = 0x0112
FORMATS = ("PNG", "JPEG", "BMP")
_NAMES = {1: GREY, 2: (*GREY, ALPHA), 3: COLOUR, 4: (*COLOUR, ALPHA)}
_DIRECT = ("1", "L", "LA", "I;16", "I", "RGB", "RGBA")


def decode_picture(path: Path, stream: IO[bytes], *, indices: bool = False) -> Decoded:
    """Decode an open file; `indices` keeps the indices of a palette instead of its colours.

    Raises ImageReadError for what is refused; damaged files raise what Pillow raises.
    """
    with Image.open(stream, formats=FORMATS) as picture:
        _check_size(path, picture)
        if indices and picture.format in ("JPEG", "MPO"):
            raise ImageReadError(
                path, "JPEG changes values, so it cannot hold labels; save the mask as PNG or TIFF"
            )
        values = _pixels(path, stream, picture, indices)
        turn = picture.getexif().get(ORIENTATION, 1)
    values = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
    bits = 1 if values.dtype == bool else 8 * values.dtype.itemsize
    levels = levels_of(values.dtype, bits)
    return Decoded(oriented(values, turn), _NAMES[len(values)], levels)


def _check_size(path: Path, picture: Image.Image) -> None:
    pixels, most = picture.width * picture.height, Image.MAX_IMAGE_PIXELS
    if most is not None and pixels > most:
        raise ImageReadError(
            path,
            f"claims {pixels:,} pixels, more than the {most:,} that Pillow considers safe; "
            "if you trust it, save it as TIFF or raise PIL.Image.MAX_IMAGE_PIXELS",
        )


def _pixels(path: Path, stream: IO[bytes], picture: Image.Image, indices: bool) -> Raw:
    """[y, x] or [y, x, C] as stored."""
    picture.load()
    if picture.mode == "P" and indices:
        return np.asarray(picture)
    if picture.mode in ("P", "PA"):  # by way of RGBA: only that keeps colours and ignores alpha
        return np.asarray(picture.convert("RGBA"))[..., :3]
    if picture.mode not in _DIRECT:
        raise ImageReadError(
            path, f"colours are {picture.mode}; convert it to RGB or grey first (ICC profiles vary)"
        )
    if picture.format == "PNG" and picture.mode in ("RGB", "RGBA", "LA"):
        stream.seek(0)
        encoded = stream.read()
        if encoded[24] == 16:  # the bit depth in the header
            return np.asarray(imagecodecs.png_decode(encoded))
    return np.asarray(picture)
