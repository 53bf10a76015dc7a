"""Strips and tiles of TIFF pages, read one by one: what a region does not touch is not decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...geometry import Region, Shape, extent
from .decoded import Raw
from .source import ImageReadError

MAX_SEGMENT = 1 << 30  # bytes of one strip or tile


class Segments(NamedTuple):
    """Strips or tiles of many pages.

    Attributes:
        file: that holds them.
        shape: of the series, in stored order.
        rows: which of its axes is y.
        page: the key frame; it decodes the segments of all pages.
        places: offset and length of each segment of each page.
    """

    file: Path
    shape: Shape
    rows: int
    page: Any
    places: list[tuple[tuple[int, ...], tuple[int, ...]]]

    def read(self, region: Region) -> Raw:
        """The values of a region, in stored order."""
        out: Raw = np.empty(extent(region), self.page.dtype)
        pages = region[: self._first]
        handle = os.open(self.file, os.O_RDONLY)
        try:
            for place in product(*(range(part.start, part.stop) for part in pages)):
                number = int(np.ravel_multi_index(place, self.shape[: len(pages)])) if place else 0
                here = tuple(n - part.start for n, part in zip(place, pages, strict=True))
                self._read_page(handle, number, region[len(pages) :], out[here])
        finally:
            os.close(handle)
        return out

    @property
    def _planar(self) -> bool:
        return bool(self.page.axes[0] == "S")

    @property
    def _first(self) -> int:
        """Where the axes of a page begin."""
        return self.rows - self._planar

    def _read_page(self, handle: int, number: int, region: Region, out: Raw) -> None:
        """Fill `out` [S, y, x] or [y, x, S] with a region of one page."""
        page, (offsets, lengths) = self.page, self.places[number]
        one = slice(0, 1)
        planes, rows, columns, samples = (*region, one) if self._planar else (one, *region, one)[:4]
        target = out.reshape(extent((planes, rows, columns, samples)))
        for index in self._touched(planes, rows, columns):
            data = os.pread(handle, lengths[index], offsets[index])
            pixels, (plane, _, y, x, _), (_, height, width, _) = page.decode(
                data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader
            )
            y0, y1 = max(rows.start, y), min(rows.stop, y + height)
            x0, x1 = max(columns.start, x), min(columns.stop, x + width)
            target[
                plane - planes.start,
                y0 - rows.start : y1 - rows.start,
                x0 - columns.start : x1 - columns.start,
            ] = pixels[0, y0 - y : y1 - y, x0 - x : x1 - x, samples]

    def _touched(self, planes: slice, rows: slice, columns: slice) -> Iterator[int]:
        """The numbers of the segments that hold pixels of a region."""
        page = self.page
        height, width = segment_shape(page)
        down, across = -(-page.imagelength // height), -(-page.imagewidth // width)
        if any(part.start >= part.stop for part in (planes, rows, columns)):
            return
        for plane in range(planes.start, planes.stop):
            for down_to in range(rows.start // height, (rows.stop - 1) // height + 1):
                for right in range(columns.start // width, (columns.stop - 1) // width + 1):
                    yield (plane * down + down_to) * across + right


def check_segments(file: Path, series: Any) -> None:
    """Refuse strips or tiles that are too large to be decoded one by one."""
    claimed = prod(segment_shape(series.keyframe)) * series.dtype.itemsize
    if series.dataoffset is None and claimed > MAX_SEGMENT:
        raise ImageReadError(
            file, f"claims strips of {claimed:,} bytes; save it in tiles or smaller strips"
        )


def segment_shape(page: Any) -> tuple[int, int]:
    """Height and width of a strip or tile."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return page.rowsperstrip, page.imagewidth
