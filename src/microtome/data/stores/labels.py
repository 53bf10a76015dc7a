"""Label maps read by region: object numbers or classes, exactly as they were saved."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy

import numpy as np
import numpy.typing as npt

from ...geometry import Region, Shape, Spacing, window
from .decoded import Raw
from .formats import open_stored
from .label_files import Encoding, decode_labels, integers, sets_of
from .places import name_of
from .selection import Selection, given_spacing
from .source import ImageReadError
from .stored import Layout, Stored


class LabelSource:
    """A label map that is read by region; it pickles, and may be read from any thread or process.

    Attributes:
        name: what outputs made from it are called.
        shape: *S.
        spacing: micrometres per pixel and axis, None when unknown.
        dtype: of what `read` returns.
    """

    def __init__(
        self,
        stored: Stored,
        name: str,
        time: int | None = None,
        spacing: float | Sequence[float] | None = None,
        sets: bool = False,
    ) -> None:
        self._selection = Selection(stored, time)
        self.name, self.file, self._sets = name, stored.file, sets
        if len(self._selection.channels) > 1 and not sets:
            raise ImageReadError(
                self.file,
                f"has {len(self._selection.channels)} channels, so it is no label map; "
                "save the one with the labels alone",
            )
        stored_type = stored.layout.dtype
        self.shape: Shape = self._selection.shape
        self.spacing: Spacing | None = self._selection.spacing
        if spacing is not None:
            self.spacing = given_spacing(self.file, spacing, len(self.shape))
        self.chunk: Shape = self._selection.chunk
        kept = {"f": np.int64, "b": np.uint8}.get(stored_type.kind, stored_type)
        self.dtype = np.dtype(np.uint8 if sets else kept)

    def read(self, region: Region) -> npt.NDArray[np.integer]:
        """[*region] integers from 0 on.

        Raises ImageReadError for fractions and negative values.
        """
        channels = range(len(self._selection.channels)) if self._sets else (0,)
        raw = integers(self.file, self._selection.read(region, channels))
        values = sets_of(self.file, raw) if self._sets else raw[0]
        return values.astype(self.dtype, copy=False)

    def coarser(self) -> tuple[LabelSource, Shape] | None:
        """The next level of its pyramid, and how many pixels became one, per axis."""
        found = self._selection.coarser()
        if found is None:
            return None
        level = copy(self)
        level._selection, steps = found
        level.shape, level.chunk = level._selection.shape, level._selection.chunk
        if self.spacing is not None:
            level.spacing = tuple(u * s for u, s in zip(self.spacing, steps, strict=True))
        return level, steps


class _InMemory(Stored):
    """A label map, or masks of several classes [K, *S], that was read as a whole."""

    def __init__(
        self, file: str, values: npt.NDArray[np.integer], spacing: Spacing | None, sets: bool
    ) -> None:
        self.file, self._values = file, values
        axes = "c" * sets + "zyx"[sets - values.ndim :]
        known = {} if spacing is None else dict(zip(axes[sets:], spacing, strict=True))
        self.layout = Layout(axes, values.shape, values.dtype, values.shape, known)

    def read(self, region: Region) -> Raw:
        return self._values[region]


def open_labels(
    path: str | os.PathLike[str],
    *,
    spacing: float | Sequence[float] | None = None,
    encoding: Encoding = "index",
    time: int | None = None,
    axes: str | None = None,
) -> LabelSource:
    """Open a label map, to be read by region.

    Args:
        path: as for `open_source`; for an OME-Zarr image its only label image is opened.
        spacing: micrometres per pixel, one or one per axis; it wins over the file's.
        encoding: of image files. `index`: the value of a pixel; colour masks are refused unless all
            channels are equal, floats unless they are whole numbers. `ade20k`: R // 10 * 256 + G,
            as the classes in ADE20K's full release. `channels`, of any store: a mask for each of
            the classes that overlap; what is read is the number of their set. The fourth axis of
            NIfTI then counts classes, unless `time` or `axes` says otherwise.
        time: which time point, where there are several.
        axes: letters of an array that does not name its axes.

    Raises ImageReadError for every file that cannot be used, with the reason.
    """
    sets = encoding == "channels"
    stored = open_stored(path, axes=axes, labels=not sets)
    if sets and axes is None and time is None and _fourth_is_free(stored):
        stored = open_stored(path, axes="czyx")
    if stored is None:
        values, stated = decode_labels(path, encoding)
        stored = _InMemory(os.fspath(path), values, stated, sets)
    return LabelSource(stored, name_of(path), time, spacing, sets)


def _fourth_is_free(stored: Stored | None) -> bool:
    """Whether the file is NIfTI of four axes, which says of the fourth only that there is one."""
    nifti = stored is not None and stored.file.lower().endswith((".nii", ".nii.gz"))
    return nifti and stored is not None and stored.layout.axes == "tzyx"


def read_labels(
    path: str | os.PathLike[str], encoding: Encoding = "index"
) -> npt.NDArray[np.integer]:
    """Read a whole mask or label map [*S] as stored: palette indices, 8 to 64 bits, EXIF turned.

    The arguments are those of `open_labels`. Raises ImageReadError with the reason.
    """
    labels = open_labels(path, encoding=encoding)
    return labels.read(window(labels.shape))
