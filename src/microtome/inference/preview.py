"""A small copy of a source of any size, of a pyramid or read in bands: all a picture needs."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.stores import ImageReadError, LabelSource, Source
from ..geometry import Region, Shape, Spacing, window

Places = npt.NDArray[np.int64]

ENOUGH = 1 << 23  # pixels: more than any picture shows
BAND = 32  # rows of the copy made at once
ROOM = 1 << 24  # pixels of a map in memory at a time


class ReadableMap(Protocol):
    """A map [*S] of integers that is read by region."""

    @property
    def shape(self) -> Shape:
        """*S."""
        ...

    def read(self, region: Region) -> npt.NDArray[Any]:
        """The values of a region."""
        ...


class Preview(NamedTuple):
    """A small copy.

    Attributes:
        image: [C, *small], means of blocks of `steps` pixels.
        steps: how many pixels went into one, per axis.
        spacing: of the copy; in pixels of the source where its own is unknown.
    """

    image: Tensor
    steps: tuple[int, ...]
    spacing: Spacing

    def shrunk(self, classes: Tensor) -> Tensor:
        """[*small] the class [*S] in the middle of each block."""
        for axis, places in enumerate(self.middles(tuple(classes.shape))):
            classes = classes.index_select(axis, torch.from_numpy(places))
        return classes

    def thinned(self, numbers: ReadableMap) -> npt.NDArray[np.int32]:
        """[*small] a map of any size at the same places; of a pyramid, from a level that has them.

        Levels of labels hold the first pixel of each block, which is as good for a picture.
        """
        places = self.middles(numbers.shape)
        left = list(self.steps)
        while isinstance(numbers, LabelSource) and (level := numbers.coarser()) is not None:
            if any(step < by for step, by in zip(left, level[1], strict=True)):
                break
            numbers = level[0]
            left = [step // by for step, by in zip(left, level[1], strict=True)]
            places = [at // by for at, by in zip(places, level[1], strict=True)]
        return _at(numbers, places).astype(np.int32)

    def sampled(self, numbers: ReadableMap) -> Tensor:
        """[*small] a map of any size, of numbers of any type, at the same places."""
        return torch.from_numpy(_at(numbers, self.middles(numbers.shape)))

    def middles(self, shape: Shape) -> list[Places]:
        """For each axis of the source, of `shape`, the pixels in the middle of the blocks."""
        sizes = self.image.shape[1:]
        return [
            np.minimum(np.arange(size) * step + step // 2, full - 1)
            for size, step, full in zip(sizes, self.steps, shape, strict=True)
        ]


def preview(source: Source) -> Preview:
    """Shrink a source by whole numbers to at most 8 million pixels, the longest axes first.

    Of a pyramid the finest level is read that has no more pixels, or else its coarsest.
    """
    whole = source.info
    before = [1] * len(whole.shape)
    while prod(source.info.shape) > ENOUGH and (level := source.coarser()) is not None:
        source = level[0]
        before = [a * b for a, b in zip(before, level[1], strict=True)]
    image, further = _shrunk(source)
    steps = tuple(a * b for a, b in zip(before, further, strict=True))
    unit = whole.spacing or (1.0,) * len(steps)
    return Preview(image, steps, tuple(u * step for u, step in zip(unit, steps, strict=True)))


def _shrunk(source: Source) -> tuple[Tensor, list[int]]:
    """The image as small as is enough, and how many pixels became one, per axis."""
    info = source.info
    steps, small = [1] * len(info.shape), list(info.shape)
    while prod(small) > ENOUGH:
        axis = small.index(max(small))
        steps[axis] += 1
        small[axis] = info.shape[axis] // steps[axis]
    whole = window([a * b for a, b in zip(small, steps, strict=True)])
    bands = []
    for start in range(0, small[0], BAND):
        stop = min(start + BAND, small[0])
        rows = slice(start * steps[0], stop * steps[0])
        bands.append(_band(source, (rows, *whole[1:]), (stop - start, *small[1:])))
    return torch.cat(bands, 1), steps


def _band(source: Source, region: Region, size: Shape) -> Tensor:
    """A band of the copy; black where it cannot be read, which prediction has told."""
    try:
        pixels = torch.tensor(source.read(region))
    except ImageReadError:
        return torch.zeros(len(source.info.channels), *size)
    return F.interpolate(pixels[None], size, mode="area")[0]


def _at(numbers: ReadableMap, places: list[Places]) -> npt.NDArray[Any]:
    """Values at places, read in bands along the first axis."""
    rest = tuple(slice(int(at[0]), int(at[-1]) + 1) for at in places[1:])
    inner = [at - part.start for at, part in zip(places[1:], rest, strict=True)]
    rows = places[0]
    room = max(1, ROOM // prod(part.stop - part.start for part in rest))
    bands = np.flatnonzero(np.diff((rows - rows[0]) // room)) + 1
    parts = []
    for band in np.split(rows, bands):
        values = numbers.read((slice(int(band[0]), int(band[-1]) + 1), *rest))
        parts.append(values[np.ix_(band - band[0], *inner)])
    return np.concatenate(parts)
