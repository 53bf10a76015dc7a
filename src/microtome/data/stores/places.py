"""How a path is read before anything is opened: URLs, `file.h5:/dataset`, names."""

from __future__ import annotations

import os
import re
from pathlib import Path

# What is left of `s3://bucket` in a path, and of each part of `zip://a.zarr::s3://bucket/b.zip`.
_LOST = re.compile(r"(?P<start>^|::)(?P<protocol>[A-Za-z][\w+.-]+):/(?=[^/])")
_HDF5 = re.compile(r"(?P<file>.+\.(?:h5|hdf5|hdf))(?::(?P<inside>.*))?", re.IGNORECASE | re.DOTALL)


def is_url(place: str) -> bool:
    """Whether a path is an fsspec URL: a protocol of two letters or more, then `://`."""
    protocol, separator, _ = place.partition("://")
    return bool(separator) and len(protocol) > 1 and "/" not in protocol


def place_of(path: str | os.PathLike[str]) -> str:
    """A path as text; a URL has its second slash again, which it loses as a `Path`."""
    return _LOST.sub(r"\g<start>\g<protocol>://", os.fspath(path))


def from_root(root: Path, given: str) -> Path:
    """A path that is relative to `root`, or a URL."""
    return Path(given) if is_url(given) else root / given


def absolute(path: Path) -> str:
    """A path that holds from any folder; a URL does."""
    place = place_of(path)
    return place if is_url(place) else str(path.absolute())


def hdf5_parts(place: str) -> tuple[str, str] | None:
    """File and data set ("" when none is named); None for a path that is not HDF5's."""
    found = _HDF5.fullmatch(place)
    return None if found is None else (found["file"], found["inside"] or "")


def file_of(path: str | os.PathLike[str]) -> Path:
    """The file or folder that a path leads to, without the data set in it."""
    found = hdf5_parts(os.fspath(path))
    return Path(path if found is None else found[0])


def name_of(path: str | os.PathLike[str]) -> str:
    """What an image is called: its last part without endings, as `.ome.tif` and `.nii.gz`.

    A data set of an HDF5 file goes by both: `a.h5:/raw` is `a_raw`.
    """
    found = hdf5_parts(os.fspath(path))
    inside = "" if found is None else found[1].strip("/").replace("/", "_")
    name = file_of(path).name.removesuffix(".gz")
    stem = Path(name).stem.removesuffix(".ome")
    return f"{stem}_{inside}" if inside else stem
