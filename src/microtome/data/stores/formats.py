"""Which reader a path belongs to: by its form, what it is a folder of, or its ending."""

from __future__ import annotations

import os
from pathlib import Path

from .damage import damage
from .decoding import TIFF
from .ome_zarr import open_image, open_label_image
from .places import hdf5_parts, is_url, place_of
from .source import ImageReadError
from .stored import Stored
from .tiff_stacks import open_tiff_stack
from .zarr_arrays import is_zarr

_BIOFORMATS = (
    ".czi", ".lif", ".lsm", ".nd2", ".oib", ".oif", ".vsi", ".ims", ".dv", ".sld", ".zvi", ".ets",
    ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".qptiff", ".mvd2", ".stk", ".flex", ".xdce",
)  # fmt: skip


def open_stored(
    path: str | os.PathLike[str], *, axes: str | None = None, labels: bool = False
) -> Stored | None:
    """The reader of a volume; None for files that are decoded whole (PNG, JPEG, small TIFF).

    Args:
        path: a file, folder or fsspec URL.
        axes: letters of an array whose file does not name them.
        labels: whether label maps are wanted: of an OME-Zarr image its label image is opened.

    Raises ImageReadError for what cannot be read; for formats that microtome does not read, with
    the command that converts them.
    """
    place = place_of(path)
    _refuse_foreign(place)
    parts = hdf5_parts(place)
    if parts is not None:
        return _hdf5(place, parts, axes)
    if is_url(place):
        return _zarr(place.rstrip("/"), axes, labels)
    local = Path(place)
    if local.name.lower().endswith((".nii", ".nii.gz")) and local.is_file():
        return _nifti(local, axes)
    if local.is_dir():
        return _folder(local, axes, labels)
    return _file(local) if local.is_file() else None


def is_volume(path: str | os.PathLike[str]) -> bool:
    """Whether a path by its form, or what it is a folder of, is one image that is a volume."""
    place, local = place_of(path), Path(path)
    if hdf5_parts(place) or is_url(place) or local.name.lower().endswith((".nii", ".nii.gz")):
        return True
    if not local.is_dir():
        return False
    return is_zarr(local) or any(f.is_file() and _has_dicom_mark(f) for f in local.iterdir())


def _zarr(place: str, axes: str | None, labels: bool) -> Stored:
    return open_label_image(place, axes) if labels else open_image(place, axes)


def _folder(folder: Path, axes: str | None, labels: bool) -> Stored:
    if is_zarr(folder):
        return _zarr(str(folder), axes, labels)
    series = _dicom(folder, sorted(folder.iterdir()))
    if series is None:
        raise ImageReadError(folder, "is a folder, but neither zarr nor a DICOM series")
    return series


def _file(file: Path) -> Stored | None:
    with damage(file), file.open("rb") as opened:
        first = opened.read(4)
    return open_tiff_stack(file) if first in TIFF else _dicom(file, [file])


# These three are imported when one of their files is met: each takes tenths of a second to load.


def _hdf5(place: str, parts: tuple[str, str], axes: str | None) -> Stored:
    from .hdf5 import Hdf5Array

    if not is_url(place) and not Path(parts[0]).is_file():
        raise ImageReadError(parts[0], "no such file")
    return Hdf5Array(place, parts, axes)


def _nifti(file: Path, axes: str | None) -> Stored:
    from .nifti import NiftiVolume

    return NiftiVolume(file, axes)


def _dicom(place: Path, candidates: list[Path]) -> Stored | None:
    files = [file for file in candidates if file.is_file() and _has_dicom_mark(file)]
    if not files:
        return None
    from .dicom import DicomSeries

    return DicomSeries(place, files)


def _has_dicom_mark(file: Path) -> bool:
    with damage(file), file.open("rb") as opened:
        return opened.read(132)[128:] == b"DICM"


def _refuse_foreign(place: str) -> None:
    name = place.lower()
    if name.endswith(_BIOFORMATS):
        stem = Path(place).stem
        raise ImageReadError(
            place,
            "is a microscope maker's format, which microtome does not read; convert it: "
            f"`bioformats2raw {Path(place).name} {stem}.zarr` (any size), or "
            f"`bfconvert {Path(place).name} {stem}.ome.tiff`",
        )
