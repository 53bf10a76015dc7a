"""TIFF: images, stacks (z, y, x) and channels, arranged by the axes that the file states."""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import tifffile

from .decoded import ALPHA, COLOUR, GREY, Decoded, Raw, levels_of, oriented
from .source import ImageReadError
from .tiff_spacing import spacing_of

MAX_BYTES = 8 << 30  # of pixels held in memory by this reader
MAX_RATIO = 1100  # deflate cannot reach 1033
RATIO_FROM = 256 << 20  # a small blank image may shrink by any ratio
TURN = 274  # the EXIF tag of orientation
CHANNELS, DEPTH = "SC", "ZIQ"  # I and Q: pages in a row that the file says nothing about
_COLOURS_REFUSED = {5: "CMYK", 6: "YCbCr", 8: "CIELAB", 9: "ICCLAB", 32803: "a raw camera mosaic"}
_JPEG = (6, 7, 34892, 33007)  # decoded to RGB by the codec


def decode_tiff(path: Path, stream: IO[bytes], *, indices: bool = False) -> Decoded:
    """Decode an open file with one series of equal pages.

    `indices` keeps stored values: palette indices, and 0 as 0 where 0 is shown white.
    Raises ImageReadError for what is refused; damaged files raise what tifffile raises.
    """
    with tifffile.TiffFile(stream) as file:
        series = file.series[0]
        page = series.keyframe
        check_series(path, file, series, MAX_BYTES)
        values, axes = series.asarray(squeeze=False), series.get_axes(squeeze=False)
        values, shown = _arranged(path, values, axes)
        turn = page.tags.valueof(TURN, 1)
        spacing = spacing_of(file, values.ndim - 1)
        levels = levels_of(values.dtype, page.bitspersample)
        photometric, colormap, extra = int(page.photometric), page.colormap, page.extrasamples
    if photometric == 3 and not indices:
        values, levels, extra = _coloured(values[0], colormap), (0.0, 255.0), ()
    if photometric == 0 and (values.dtype == bool or not indices):
        values = _inverted(path, values, page.bitspersample)
    channels = _names(len(values), photometric in (2, 3, 6), shown == "S" and _has_alpha(extra))
    if spacing is not None and turn in (5, 6, 7, 8):
        spacing = (*spacing[:-2], spacing[-1], spacing[-2])
    return Decoded(oriented(values, turn), channels, levels, spacing)


def check_series(path: Path, file: Any, series: Any, most: int) -> None:
    """Refuse what would be read wrongly, incompletely, or not fit: before anything is allocated.

    `most` bytes of pixels are allowed, and no more than compression can shrink into the file.
    """
    page, size = series.keyframe, file.filehandle.size
    claimed = prod(series.get_shape(squeeze=False)) * series.dtype.itemsize
    colours = _COLOURS_REFUSED.get(int(page.photometric))
    if claimed > min(most, max(RATIO_FROM, MAX_RATIO * size)):
        raise ImageReadError(
            path, f"claims {claimed:,} bytes of pixels in a file of {size:,}; cut it into parts"
        )
    if len(file.series) > 1:
        shapes = ", ".join(str(s.shape) for s in file.series[:4])
        raise ImageReadError(path, f"holds several images of unlike shape ({shapes}); split it")
    if colours and not (colours == "YCbCr" and int(page.compression) in _JPEG):
        raise ImageReadError(path, f"colours are {colours}; convert it to RGB or grey first")
    if _chain_goes_on(file) or len(file.pages) > len(series):
        raise ImageReadError(path, "is truncated: pages that it announces are missing")
    for number, part in enumerate(series):
        if part is None or 0 in part.databytecounts or _end(part) > size:
            raise ImageReadError(path, f"pixels of page {number} are missing; is it truncated?")


def _end(page: Any) -> int:
    pairs = zip(page.dataoffsets, page.databytecounts, strict=False)
    return max((offset + count for offset, count in pairs), default=0)


def _chain_goes_on(file: Any) -> bool:
    """Whether the last page that could be read names a further one (tifffile only logs that)."""
    form, handle = file.tiff, file.filehandle
    handle.seek(file.pages[len(file.pages) - 1].offset)
    (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
    handle.seek(tags * form.tagsize, 1)
    (following,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
    return bool(following)


def _arranged(path: Path, values: Raw, axes: str) -> tuple[Raw, str]:
    """[C, (z,) y, x], and the letter of the channel axis ("" where there was none)."""
    kept = [i for i, a in enumerate(axes) if a in "YX" or values.shape[i] > 1]
    letters = "".join(axes[i] for i in kept)
    values = values.reshape([values.shape[i] for i in kept])
    channel = [a for a in letters if a in CHANNELS]
    depth = [a for a in letters if a in DEPTH]
    if len(channel) > 1 or len(depth) > 1 or len(channel) + len(depth) + 2 != len(letters):
        sizes = ", ".join(f"{a} {n}" for a, n in zip(letters, values.shape, strict=True))
        raise ImageReadError(
            path,
            f"has the axes {sizes}; expected y, x, at most one z and one channel axis. "
            "Split time points and positions into files; if T is really z, say so in its metadata",
        )
    values = values.transpose([letters.index(a) for a in (*channel, *depth, "Y", "X")])
    return (values, channel[0]) if channel else (values[None], "")


def _coloured(indices: Raw, colormap: Any) -> Raw:
    """[3, *S] 8 bit; the table holds 16 bits, of which some writers fill only the upper 8."""
    table = (np.asarray(colormap) >> 8).astype(np.uint8)
    return np.asarray(table[:, indices])


def _inverted(path: Path, values: Raw, bits: int) -> Raw:
    if values.dtype == bool:
        return ~values
    if values.dtype.kind != "u":
        raise ImageReadError(path, "0 is shown white in signed or float values; save it inverted")
    return np.asarray(values.dtype.type(2**bits - 1) - values)


def names_of(page: Any, count: int, samples: bool) -> tuple[str, ...]:
    """Names of the channels of a page, or of the pages with `samples` false."""
    in_colour = int(page.photometric) in (2, 6)
    return _names(count, in_colour, samples and _has_alpha(page.extrasamples))


def _has_alpha(extra: Any) -> bool:
    return len(extra) > 0 and int(extra[-1]) in (1, 2)


def _names(count: int, in_colour: bool, has_alpha: bool) -> tuple[str, ...]:
    count -= has_alpha
    known: tuple[str, ...] = COLOUR if in_colour and count >= 3 else GREY if count == 1 else ()
    names = known + tuple(f"channel {i}" for i in range(len(known), count))
    return (*names, ALPHA) if has_alpha else names
