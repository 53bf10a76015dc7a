"""Single objects as boxes with masks, put together into layers of numbers."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ...geometry import Region, Shape
from ...structures import LabelLayers
from ...structures.polygons import Polygon, from_polygons

Mask = npt.NDArray[np.bool_]


class Part(NamedTuple):
    """One object of a file.

    Attributes:
        number: its id, from 1 on.
        region: a box that holds it, inside the image.
        mask: [*region], True on its pixels.
        word: what the file calls its class; None when it does not say.
        crowd: a region of many objects that nobody outlined one by one.
        score: how sure a program was of it; None where nobody says.
    """

    number: int
    region: Region
    mask: Mask
    word: str | None = None
    crowd: bool = False
    score: float | None = None


def part_of(number: int, mask: Mask, word: str | None = None) -> Part:
    """An object from its mask [*S] of a whole image, cut to its bounding box."""
    region = tuple(_span(mask, axis) for axis in range(mask.ndim))
    return Part(number, region, mask[region], word)


def rasterised(
    number: int, polygons: Iterable[Polygon], shape: Shape, word: str | None = None
) -> Part:
    """An object from its outlines: the pixels of the image [H, W] whose centres lie inside."""
    polygons = list(polygons)
    corners = np.concatenate([np.zeros((0, 2)), *(p.exterior for p in polygons)])
    if not np.isfinite(corners).all():
        raise ValueError("an outline holds values that are no numbers")
    low = corners.min(0, initial=np.inf).clip(0, shape)
    high = corners.max(0, initial=-np.inf).clip(low, shape)
    region = tuple(slice(floor(a), ceil(b)) for a, b in zip(low, high, strict=True))
    start = np.array([side.start for side in region], np.float64)
    moved = [Polygon(p.exterior - start, tuple(h - start for h in p.holes)) for p in polygons]
    mask = from_polygons(moved, tuple(side.stop - side.start for side in region))
    return Part(number, region, mask, word)


def layered(parts: Iterable[Part], shape: Shape) -> LabelLayers:
    """Each object in the first layer in which its pixels are free; none without a pixel."""
    seen = [part for part in parts if part.mask.any()]
    masks = ((part.region, torch.from_numpy(part.mask)) for part in seen)
    return LabelLayers.from_parts(masks, shape, [part.number for part in seen])


def covered(parts: Iterable[Part], shape: Shape) -> Mask:
    """[*S], True where any of the objects is."""
    union = np.zeros(shape, bool)
    for part in parts:
        union[part.region] |= part.mask
    return union


def painted(layers: LabelLayers, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """[*S] the class of each pixel: of the smallest object there, 0 where there is none."""
    maps = layers.maps.numpy()
    sizes = np.bincount(maps.ravel(), minlength=len(layers) + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    rank = np.zeros(len(layers) + 1, np.int64)  # the smaller, the higher
    rank[order + 1] = np.arange(1, len(layers) + 1)
    top = rank[maps].max(0)
    return np.asarray(np.concatenate(([0], labels[order]))[top])


def _span(mask: Mask, axis: int) -> slice:
    hit = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
    return slice(int(hit[0]), int(hit[-1]) + 1) if len(hit) else slice(0, 0)
