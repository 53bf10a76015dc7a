"""DICOM: a folder with the slices of one series, read slice by slice.

Slices are sorted by their position along the normal of the image plane; spacing in z is the
distance between them. Rescale slope and intercept are applied, so CT is in Hounsfield units.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from ...geometry import Region
from .damage import damage
from .decoded import Raw, levels_of
from .source import ImageReadError
from .stored import Layout, Stored

_UNEVEN = 0.02  # of the distance between slices
_SPOIL = (NotImplementedError, InvalidDicomError)


class Slice(NamedTuple):
    """What is known of one file before its pixels are read."""

    file: Path
    series: str
    shape: tuple[int, int]
    steps: tuple[float, float] | None  # millimetres per pixel, y and x
    axes: tuple[float, ...]  # directions of rows and columns
    position: tuple[float, ...] | None
    rescale: tuple[float, float]
    dtype: np.dtype[Any]


class DicomSeries(Stored):
    """The slices of one series.

    Raises ImageReadError for several series, missing or double slices, and kinds of pixels that
    would be read wrongly.
    """

    def __init__(self, place: Path, files: Sequence[Path]) -> None:
        self.file = str(place)
        slices = [_header(file) for file in files]
        self._slices, gap = _sorted(place, slices)
        first = self._slices[0]
        plain = all(s.rescale == (1.0, 0.0) for s in slices)
        dtype = first.dtype if plain else np.dtype(np.float32)
        spacing = {} if first.steps is None else dict(zip("yx", first.steps, strict=True))
        if gap:
            spacing["z"] = gap
        self.layout = Layout(
            "zyx", (len(slices), *first.shape), dtype, (1, *first.shape),
            {a: 1000 * step for a, step in spacing.items()},
            levels=levels_of(dtype, 8 * dtype.itemsize),
        )  # fmt: skip

    def read(self, region: Region) -> Raw:
        """The values of a region; see `Stored`."""
        out = [self._pixels(one)[region[1:]] for one in self._slices[region[0]]]
        shape = (len(out), *(part.stop - part.start for part in region[1:]))
        return np.array(out, self.layout.dtype).reshape(shape)

    def _pixels(self, one: Slice) -> Raw:
        with damage(one.file, *_SPOIL):
            pixels = np.asarray(pydicom.dcmread(one.file).pixel_array)
        if pixels.shape != one.shape:
            raise ImageReadError(one.file, f"holds {pixels.shape} pixels, claims {one.shape}")
        slope, intercept = one.rescale
        return pixels if one.rescale == (1.0, 0.0) else pixels * slope + intercept


def _header(file: Path) -> Slice:
    with damage(file, *_SPOIL):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        kind = str(header.get("PhotometricInterpretation", ""))
        if kind != "MONOCHROME2" or int(header.get("NumberOfFrames", 1) or 1) > 1:
            raise ImageReadError(
                file, f"holds {header.get('NumberOfFrames', 1)} frames of {kind}; expected one of "
                "MONOCHROME2. Convert the series: `dcm2niix -z n FOLDER`",
            )  # fmt: skip
        bits, signed = int(header.BitsAllocated), int(header.PixelRepresentation)
        steps, position = header.get("PixelSpacing"), header.get("ImagePositionPatient")
        rescale = header.get("RescaleSlope", 1), header.get("RescaleIntercept", 0)
        return Slice(
            file,
            str(header.get("SeriesInstanceUID", "")),
            (int(header.Rows), int(header.Columns)),
            None if not steps else (float(steps[0]), float(steps[1])),
            tuple(map(float, header.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0))),
            None if not position else tuple(map(float, position)),
            (float(rescale[0]), float(rescale[1])),
            np.dtype(f"{'i' if signed else 'u'}{max(bits // 8, 1)}"),
        )


def _sorted(place: Path, slices: list[Slice]) -> tuple[list[Slice], float]:
    """Slices along their normal, and the distance between them in millimetres."""
    series = {s.series for s in slices}
    if len(series) > 1:
        raise ImageReadError(place, f"holds {len(series)} series; put each into its own folder")
    unlike = {(s.shape, s.steps, s.dtype) for s in slices}
    turned = np.ptp([s.axes for s in slices], axis=0).max() > 1e-3
    if len(unlike) > 1 or turned:
        raise ImageReadError(place, "its slices differ in shape, spacing, type or direction")
    if len(slices) == 1:
        return slices, 0.0
    without = [s.file.name for s in slices if s.position is None]
    if without:
        raise ImageReadError(
            place, f"{len(without)} slices state no position, such as {without[0]}"
        )
    rows, columns = np.reshape(slices[0].axes, (2, 3))
    heights = np.array([s.position for s in slices]) @ np.cross(rows, columns)
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    gap = float(np.median(gaps))
    if gap <= 0 or np.abs(gaps - gap).max() > _UNEVEN * gap:
        raise ImageReadError(
            place, f"distances between slices go from {gaps.min():.3f} to {gaps.max():.3f} mm: "
            "some are missing or double",
        )  # fmt: skip
    return [slices[i] for i in order], gap
