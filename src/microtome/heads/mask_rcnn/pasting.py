"""Masks of boxes on the pixels of an image: each is made as large as its box, no larger.

N objects, *M the cells of a mask, D axes, *S the image's shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor

import torch
from torch import Tensor
from torch.nn import functional as F

from ...geometry import Region, Shape, extent
from ...structures import LabelLayers
from .alignment import Alignment
from .interpolation import applied, between_cells

MOST_LAYERS = 8  # of overlapping objects; from then on a pixel goes to the better ones


def pasted(
    masks: Tensor, boxes: Tensor, shape: Shape, alignment: Alignment, layers: int = MOST_LAYERS
) -> tuple[LabelLayers, list[int]]:
    """Objects, best first, in the first layer that has room for them.

    Args:
        masks: [N, *M] probabilities; an object is where they are above a half.
        boxes: [N, 2D].
        shape: *S.
        alignment: where boxes lie.
        layers: how many there may be; objects beyond them get the pixels that the last one has
            left.

    Returns the layers, and the indices of the objects that have a pixel in them.
    """
    maps = [torch.zeros(shape, dtype=torch.int32, device=masks.device)]
    kept: list[int] = []
    for index, (region, inside) in enumerate(_inside(masks, boxes, shape, alignment)):
        if not inside.any():
            continue
        layer = next((m for m in maps if not m[region][inside].any()), None)
        if layer is None and len(maps) < layers:
            layer = torch.zeros_like(maps[0])
            maps.append(layer)
        if layer is None:
            layer = maps[-1]
            inside = inside & (layer[region] == 0)
            if not inside.any():
                continue
        kept.append(index)
        layer[region][inside] = len(kept)
    ids = torch.arange(1, len(kept) + 1, device=masks.device)
    return LabelLayers(torch.stack(maps), ids), kept


def _inside(
    masks: Tensor, boxes: Tensor, shape: Shape, alignment: Alignment
) -> Iterator[tuple[Region, Tensor]]:
    """For each object the region of its box and, in it, the pixels that are its own."""
    cells = masks.shape[1:]
    if alignment == "torchvision":
        masks, boxes = _whole_pixels(masks, boxes)
        cells = masks.shape[1:]
    for mask, box in zip(masks, boxes.tolist(), strict=True):
        sides = list(zip(box[: len(cells)], box[len(cells) :], shape, strict=True))
        region = tuple(slice(*_pixels(*side)) for side in sides)
        if min(extent(region)) < 1:
            yield region, mask.new_zeros(extent(region), dtype=torch.bool)
            continue
        matrices = [
            between_cells(low, high, count, (part.start, part.stop)).to(mask)
            for (low, high, _), count, part in zip(sides, cells, region, strict=True)
        ]
        yield region, applied(mask, matrices) > 0.5


def _pixels(low: float, high: float, size: int) -> tuple[int, int]:
    """First and last + 1 of the pixels with their centre in low…high, or the one amid it."""
    start, stop = ceil(low - 0.5), ceil(high - 0.5)
    if stop <= start:
        start = floor((low + high) / 2)
        stop = start + 1
    return max(start, 0), max(min(stop, size), max(start, 0))


def _whole_pixels(masks: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Masks with a rim of one cell, and boxes that much larger, cut to whole pixels.

    Both ends of such a box are pixels of it.
    """
    low, high = boxes.chunk(2, 1)
    cells = torch.tensor(masks.shape[1:], device=boxes.device)
    centre, half = (high + low) * 0.5, (high - low) * 0.5 * ((cells + 2) / cells)
    corners = torch.cat([(centre - half).long(), (centre + half).long() + 1], 1)
    return F.pad(masks, (1, 1) * (masks.ndim - 1)), corners.to(boxes)
