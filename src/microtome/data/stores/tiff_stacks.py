"""Large TIFF and OME-TIFF, and stacks with time: read by region, tile- or strip-wise.

What is stored in one uncompressed run is mapped into memory; else each strip or tile that a region
touches is read by `pread` and decoded alone. Files below 64 MiB without a time axis, and what needs
more than pixels (palettes, inverted or turned images, zip members), are decoded whole by `tiff`.
"""

from __future__ import annotations

import sys
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

from ...geometry import Region, extent
from .damage import damage
from .decoded import Raw, levels_of
from .stored import Layout, PerProcess, Stored
from .tiff import CHANNELS, DEPTH, TURN, check_series, names_of
from .tiff_segments import Segments, check_segments, segment_shape
from .tiff_spacing import channel_names, steps_of

WHOLE = 64 << 20  # bytes of pixels, below which a file is decoded at once
_PAGES = ("YX", "YXS", "SYX")
_SHOWN = (1, 2, 6)  # black is zero, RGB, YCbCr (which check_series lets through in JPEG only)


class TiffStack(Stored):
    """One series of equal pages."""

    def __init__(self, file: Path, series: Any, owner: Any) -> None:
        self.file = str(file)
        letters, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
        self._shape = tuple(shape)
        self._kept = [
            i for i, (a, n) in enumerate(zip(letters, shape, strict=True)) if a in "YX" or n > 1
        ]
        axes = "".join(_letter(letters[i]) for i in self._kept)
        kept_shape = tuple(shape[i] for i in self._kept)
        page = series.keyframe
        samples = "S" in letters and shape[letters.index("S")] > 1
        channels = dict(zip(axes, kept_shape, strict=True)).get("c", 1)
        names = names_of(page, channels, samples) if samples else channel_names(owner)
        dtype = np.dtype(series.dtype).newbyteorder("=")
        self._pixels = PerProcess(partial(_opened, file))
        chunk = dict(zip("YX", segment_shape(page), strict=True))
        self.layout = Layout(
            axes, kept_shape, dtype,
            tuple(chunk.get(letters[i], shape[i] if letters[i] == "S" else 1) for i in self._kept),
            {a: s for a, s in zip("zyx", steps_of(owner), strict=True) if s is not None},
            names if len(names) == channels else (),
            levels_of(dtype, page.bitspersample),
        )  # fmt: skip

    def read(self, region: Region) -> Raw:
        """The values of a region; see `Stored`."""
        full = [slice(0, 1)] * len(self._shape)
        for axis, part in zip(self._kept, region, strict=True):
            full[axis] = part
        with damage(self.file):
            values = self._pixels().read(tuple(full))
        return values.reshape(extent(region)).astype(self.layout.dtype, copy=False)


def open_tiff_stack(file: Path) -> TiffStack | None:
    """A lazy reader; None for files that `tiff` decodes whole."""
    with damage(file), tifffile.TiffFile(file) as opened:
        series = opened.series[0]
        letters, page = series.get_axes(squeeze=False), series.keyframe
        shape = series.get_shape(squeeze=False)
        time = dict(zip(letters, shape, strict=True)).get("T", 1)
        small = prod(shape) * series.dtype.itemsize < WHOLE and time == 1
        kept = [_letter(a) for a, n in zip(letters, shape, strict=True) if a in "YX" or n > 1]
        plain = (
            int(page.photometric) in _SHOWN
            and page.tags.valueof(TURN, 1) == 1
            and page.axes in _PAGES
            and page.bitspersample == 8 * series.dtype.itemsize
            and len(set(kept)) == len(kept) and set(kept) <= {*"tczyx"}
        )  # fmt: skip
        if small or not plain:
            return None
        check_series(file, opened, series, sys.maxsize)
        check_segments(file, series)
        return TiffStack(file, series, opened)


class _Mapped(NamedTuple):
    """All pixels in one run."""

    pixels: Raw

    def read(self, region: Region) -> Raw:
        return np.array(self.pixels[region])


def _opened(file: Path) -> _Mapped | Segments:
    """The way to the pixels, in this process; nothing of it moves a file position."""
    with tifffile.TiffFile(file) as opened:
        series = opened.series[0]
        shape, page = tuple(series.get_shape(squeeze=False)), series.keyframe
        if series.dataoffset is not None and page.compression == 1:
            dtype = np.dtype(opened.byteorder + series.dtype.char)
            return _Mapped(np.memmap(file, dtype, "r", series.dataoffset, shape))
        places = [(tuple(part.dataoffsets), tuple(part.databytecounts)) for part in series]
        page.decode  # noqa: B018  made while the file is open, as it reads tags
        rows = series.get_axes(squeeze=False).index("Y")
        return Segments(file, shape, rows, page, places)


def _letter(axis: str) -> str:
    return "c" if axis in CHANNELS else "z" if axis in DEPTH else axis.lower()
