"""What the readers of volumes hand on: an array as its file holds it, read by region.

A reader says which axes its array has, by letter (t time, c channel, z, y, x), in whatever order
they are stored; `selection` brings every one of them into `[C, (z,) y, x]`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from ...geometry import Region, Shape
from .decoded import Levels, Raw

T = TypeVar("T")
Affine = tuple[tuple[float, ...], ...]


class Layout(NamedTuple):
    """What is known of a stored array before any of it is read.

    Attributes:
        axes: a letter per axis, of `tczyx`, in stored order.
        shape: elements per axis.
        dtype: of the values that `read` returns.
        chunk: what a reader has to fetch at least, per axis.
        spacing: micrometres per pixel by axis letter, where the file states a unit.
        channels: their names; () where the file names none.
        levels: raw black and white where the type says them.
        affine: see `SourceInfo`.
    """

    axes: str
    shape: Shape
    dtype: np.dtype[Any]
    chunk: Shape
    spacing: Mapping[str, float] = {}
    channels: tuple[str, ...] = ()
    levels: Levels | None = None
    affine: Affine | None = None


class Stored(ABC):
    """An array in a file. It pickles, and may be read from any thread of any process.

    Attributes:
        file: how errors call it: a path or URL.
        layout: what is known of it.
    """

    file: str
    layout: Layout

    @abstractmethod
    def read(self, region: Region) -> Raw:
        """The values of a region (starts and stops inside the array), in stored axis order."""

    def coarser(self) -> Stored | None:
        """The next level of a pyramid, None at its end and where there is none."""
        return None


class PerProcess(Generic[T]):
    """A handle that each process opens for itself; it pickles as the way to open it.

    Two threads may open it at once; then one of the two handles is forgotten.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._opened: tuple[int, T] | None = None

    def __call__(self) -> T:
        """The handle of this process."""
        opened, process = self._opened, os.getpid()
        if opened is None or opened[0] != process:
            opened = self._opened = (process, self._make())
        return opened[1]

    def __getstate__(self) -> Callable[[], T]:
        return self._make

    def __setstate__(self, make: Callable[[], T]) -> None:
        self._make, self._opened = make, None
