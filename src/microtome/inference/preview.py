"""A small copy of a source of any size, read in bands: what a picture needs of it."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.stores import Source
from ..geometry import Spacing, window

ENOUGH = 1 << 23  # pixels: more than any picture shows
BAND = 32  # rows of the copy made at once


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
        middle = tuple(
            slice(step // 2, step * size, step)
            for step, size in zip(self.steps, self.image.shape[1:], strict=True)
        )
        return classes[middle]


def preview(source: Source) -> Preview:
    """Shrink a source by whole numbers to at most 8 million pixels, the longest axes first."""
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
        pixels = torch.tensor(source.read((rows, *whole[1:])))
        bands.append(F.interpolate(pixels[None], (stop - start, *small[1:]), mode="area")[0])
    unit = info.spacing or (1.0,) * len(steps)
    spacing = tuple(u * step for u, step in zip(unit, steps, strict=True))
    return Preview(torch.cat(bands, 1), tuple(steps), spacing)
