"""HDF5: `file.h5:/dataset`, read by region.

Axes come from dimension labels or ilastik's `axistags`, spacing from `element_size_um` (one value
per spatial axis), which PlantSeg and others write.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import h5py
import numpy as np

from ...geometry import Region
from .damage import damage
from .decoded import Raw, levels_of
from .places import is_url
from .selection import usual_axes
from .source import ImageReadError
from .stored import Layout, PerProcess, Stored

_BLOCK = 64  # pixels per axis that are measured together where nothing is chunked


class Hdf5Array(Stored):
    """One data set of a file.

    Raises ImageReadError when there is none of that name, or several and none was named.
    """

    def __init__(self, place: str, parts: tuple[str, str], axes: str | None = None) -> None:
        file, inside = parts
        self.file = place
        with damage(file):
            inside = inside or _only(file)
            self._handle = PerProcess(partial(_dataset, file, inside))
            data = self._handle()
            shape, dtype = tuple(data.shape), np.dtype(data.dtype)
            letters = usual_axes(place, shape, axes or _letters(data))
            chunk = data.chunks or tuple(min(s, _BLOCK) for s in shape)
            steps = np.ravel(data.attrs.get("element_size_um", ())).tolist()
        spatial = [a for a in letters if a in "zyx"]
        known = len(steps) == len(spatial) and all(np.isfinite(s) and s > 0 for s in steps)
        self.layout = Layout(
            letters, shape, dtype, chunk, dict(zip(spatial, steps, strict=True)) if known else {},
            levels=levels_of(dtype, 1 if dtype.kind == "b" else 8 * dtype.itemsize),
        )  # fmt: skip

    def read(self, region: Region) -> Raw:
        """The values of a region; see `Stored`."""
        with damage(self.file):
            return np.asarray(self._handle()[region])


def _opened(file: str) -> h5py.File:
    if is_url(file):
        import fsspec

        return h5py.File(fsspec.open(file, "rb").open(), "r")
    return h5py.File(file, "r", locking=False)  # read-only file systems cannot lock


def _dataset(file: str, inside: str) -> h5py.Dataset:
    found = _opened(file).get(inside)
    if not isinstance(found, h5py.Dataset) or found.ndim < 2:
        raise ImageReadError(file, f"has no array {inside!r}; it has {_listed(file)}")
    return found


def _arrays(file: str) -> list[str]:
    names: list[str] = []

    def note(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim >= 2 and node.dtype.kind in "buif":
            names.append(f"/{name}")

    with _opened(file) as opened:
        opened.visititems(note)
    return names


def _listed(file: str) -> str:
    return ", ".join(f"{file}:{name}" for name in _arrays(file)[:8]) or "none"


def _only(file: str) -> str:
    names = _arrays(file)
    if len(names) != 1:
        raise ImageReadError(file, f"holds {len(names)} arrays; name one: {_listed(file)}")
    return names[0]


def _letters(data: h5py.Dataset) -> str | None:
    """What the file says of its axes, where that is one known letter for each."""
    tags = data.attrs.get("axistags")
    if tags is not None:
        letters = "".join(str(axis.get("key", "")) for axis in json.loads(tags).get("axes", ()))
    else:
        letters = "".join(dimension.label for dimension in data.dims)
    letters = letters.lower()
    return letters if len(letters) == data.ndim and set(letters) <= {*"tczyx"} else None
