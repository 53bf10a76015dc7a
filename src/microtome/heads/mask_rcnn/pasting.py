"""Masks of boxes on the pixels of an image: some at a time, none larger than the largest box.

N objects, *M the cells of a mask, D axes, *S the image's shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from ...geometry import Region, Shape, extent
from ...structures import LabelLayers
from .alignment import Alignment
from .interpolation import applied, between_cells

AT_ONCE = 2**22  # pixels of masks that are made at a time
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
        layer = next((m for m in maps if not ((m[region] > 0) & inside).any()), None)
        if layer is None and len(maps) < layers:
            layer = torch.zeros_like(maps[0])
            maps.append(layer)
        if layer is None:
            layer = maps[-1]
            inside = inside & (layer[region] == 0)
            if not inside.any():
                continue
        kept.append(index)
        layer[region].masked_fill_(inside, len(kept))
    ids = torch.arange(1, len(kept) + 1, device=masks.device)
    return LabelLayers(torch.stack(maps), ids), kept


def _inside(
    masks: Tensor, boxes: Tensor, shape: Shape, alignment: Alignment
) -> Iterator[tuple[Region, Tensor]]:
    """For each object the region of its box and, in it, the pixels that are its own."""
    if alignment == "torchvision":
        masks, boxes = _whole_pixels(masks, boxes)
    first, stop = _pixels(boxes.double(), shape)
    longest = (stop - first).amax(0).tolist() if len(boxes) else []
    step = max(1, AT_ONCE // max(1, prod(longest)))
    corners = torch.cat([first, stop], 1).tolist()
    for start in range(0, len(boxes), step):
        some = slice(start, start + step)
        probs = _enlarged(masks[some], boxes[some].double(), first[some], longest)
        for inside, corner in zip(probs > 0.5, corners[some], strict=True):
            region = tuple(map(slice, corner[: len(shape)], corner[len(shape) :]))
            yield region, inside[tuple(map(slice, extent(region)))]


def _enlarged(masks: Tensor, boxes: Tensor, first: Tensor, longest: Sequence[int]) -> Tensor:
    """[N, *longest] masks between their cells, at the pixels from the `first` [N, D] on."""
    low, high = boxes.chunk(2, 1)
    rows = [torch.arange(n, device=first.device) for n in longest]
    matrices = [
        between_cells(low[:, axis], high[:, axis], cells, first[:, axis, None] + along)
        for axis, (cells, along) in enumerate(zip(masks.shape[1:], rows, strict=True))
    ]
    return applied(masks, [matrix.to(masks) for matrix in matrices])


def _pixels(boxes: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """First and last + 1 [N, D] of the pixels with their centre in a box, or the one amid it."""
    low, high = boxes.chunk(2, 1)
    start, stop = (low - 0.5).ceil(), (high - 0.5).ceil()
    amid, thin = ((low + high) / 2).floor(), stop <= start
    start, stop = torch.where(thin, amid, start), torch.where(thin, amid + 1, stop)
    first = start.clamp(min=0)
    sizes = torch.tensor(shape, device=boxes.device)
    return first.long(), torch.maximum(torch.minimum(stop, sizes), first).long()


def _whole_pixels(masks: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Masks with a rim of one cell, and boxes that much larger, cut to whole pixels.

    Both ends of such a box are pixels of it.
    """
    low, high = boxes.chunk(2, 1)
    cells = torch.tensor(masks.shape[1:], device=boxes.device)
    centre, half = (high + low) * 0.5, (high - low) * 0.5 * ((cells + 2) / cells)
    corners = torch.cat([(centre - half).long(), (centre + half).long() + 1], 1)
    return F.pad(masks, (1, 1) * (masks.ndim - 1)), corners.to(boxes)
