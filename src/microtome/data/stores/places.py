"""How a path is read before anything is opened: URLs, `file.h5:/dataset`, names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .source import name_of

_HDF5 = re.compile(r"(?P<file>.+\.(?:h5|hdf5|hdf))(?::(?P<inside>.*))?", re.IGNORECASE | re.DOTALL)


def is_url(place: str) -> bool:
    """Whether a path is an fsspec URL: a protocol of two letters or more, then `://`."""
    protocol, separator, _ = place.partition("://")
    return bool(separator) and len(protocol) > 1 and "/" not in protocol


def hdf5_parts(place: str) -> tuple[str, str] | None:
    """File and data set ("" when none is named); None for a path that is not HDF5's."""
    found = _HDF5.fullmatch(place)
    return None if found is None else (found["file"], found["inside"] or "")


def name_at(path: str | os.PathLike[str]) -> str:
    """What outputs made from a path are called: its last part without endings and data set."""
    place = os.fspath(path).rstrip("/")
    found = hdf5_parts(place)
    return name_of(Path(Path(found[0] if found else place).name.removesuffix(".gz")))
