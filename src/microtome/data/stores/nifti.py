"""NIfTI: `.nii` is read by region from disk, `.nii.gz` unpacked once per process.

What becomes of its geometry, here and nowhere else: NIfTI stores x, y, z (t, c) with x fastest, so
its array is transposed to (c, t,) z, y, x and not a voxel moves; nothing is flipped or turned, so
that y and x need not be left and up. Spacing is the header's voxel size, in micrometres; an unknown
unit counts as millimetres, the unit of the affine. The affine is kept in `SourceInfo.affine`.
"""

from __future__ import annotations

from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, ImageDataError

from ...geometry import Region
from .damage import damage
from .decoded import Raw, levels_of
from .selection import usual_axes
from .source import ImageReadError
from .stored import Layout, PerProcess, Stored
from .units import micrometres

MAX_BYTES = 8 << 30  # unpacked, in memory
MAX_RATIO = 1100  # deflate cannot reach 1033
_BLOCK = 64  # pixels per axis that are measured together
_AXES = {2: "yx", 3: "zyx", 4: "tzyx", 5: "ctzyx"}
_REFUSALS = (ImageFileError, HeaderDataError, ImageDataError)


class NiftiVolume(Stored):
    """The voxels of a NIfTI file; its fourth axis is time unless `axes` says `czyx`."""

    def __init__(self, file: Path, axes: str | None = None) -> None:
        self.file = str(file)
        with damage(file, *_REFUSALS):
            image: Any = nibabel.load(file)
            shape = tuple(int(n) for n in image.shape[::-1])
            stored = np.dtype(image.get_data_dtype())
            slope, inter = float(image.dataobj.slope), float(image.dataobj.inter)
            unit = image.header.get_xyzt_units()[0]
            sizes = [float(s) for s in image.header.get_zooms()[:3]]
            affine = tuple(tuple(map(float, row)) for row in image.affine)
        packed = file.name.lower().endswith(".gz")
        _check(file, prod(shape) * stored.itemsize, packed)
        self._scale = None if (slope, inter) == (1.0, 0.0) else (slope, inter)
        self._voxels = PerProcess(partial(_voxels, file, packed))
        unit = "mm" if unit == "unknown" else unit
        steps = {a: micrometres(s, unit) for a, s in zip("xyz", sizes, strict=False)}
        dtype = stored.newbyteorder("=") if self._scale is None else np.dtype(np.float32)
        self.layout = Layout(
            usual_axes(self.file, shape, axes or _AXES.get(len(shape), "")), shape, dtype,
            shape if packed else tuple(min(s, _BLOCK) for s in shape),
            {a: s for a, s in steps.items() if s is not None},
            levels=levels_of(dtype, 8 * dtype.itemsize), affine=affine,
        )  # fmt: skip

    def read(self, region: Region) -> Raw:
        """The values of a region, slope and intercept applied; see `Stored`."""
        with damage(self.file, *_REFUSALS):
            values = self._voxels()[region]
            if self._scale is not None:
                values = values * self._scale[0] + self._scale[1]
            return np.array(values, self.layout.dtype)


def _check(file: Path, claimed: int, packed: bool) -> None:
    size = file.stat().st_size
    if packed and claimed > MAX_BYTES:
        raise ImageReadError(
            file, f"holds {claimed:,} bytes of voxels, packed; unpack it with gunzip, then it is "
            "read by region",
        )  # fmt: skip
    if claimed > (MAX_RATIO if packed else 1) * size:
        raise ImageReadError(
            file, f"claims {claimed:,} bytes of voxels in a file of {size:,}; is it truncated?"
        )


def _voxels(file: Path, packed: bool) -> Raw:
    image: Any = nibabel.load(file, mmap=not packed)
    voxels: Raw = np.asanyarray(image.dataobj.get_unscaled()).T
    return voxels
