"""Images resized between pixel centres, and truth looked up where a resized or cut image lies."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..geometry import Placement, Shape
from ..structures import Segmentation


def resized(maps: Tensor, shape: Shape) -> Tensor:
    """Resize maps [C, *S] to [C, *shape]: linear between pixel centres, antialiased when shrinking.

    One axis after the other, since PyTorch's antialiasing knows two axes only.
    """
    for axis, size in enumerate(shape, start=1):
        if maps.shape[axis] != size:
            maps = _along(maps, axis, size)
    return maps


def _along(maps: Tensor, axis: int, size: int) -> Tensor:
    # The axis goes last: with a last axis of one pixel, PyTorch's result is wrong.
    lines = maps.movedim(axis, -1)
    flat = lines.reshape(1, -1, 1, lines.shape[-1]).contiguous()
    found = F.interpolate(flat, (1, size), mode="bilinear", antialias=True)
    return found.reshape(*lines.shape[:-1], size).movedim(-1, axis)


def truth_at(truth: Segmentation, placement: Placement | None, shape: Shape) -> Segmentation:
    """Take the truth where an image of `shape` lies; at another scale, that of the nearest pixels.

    Objects without a pixel left are dropped.
    """
    if placement is None:
        return truth
    index = [
        ((torch.arange(s) + 0.5) * scale + offset).long().clamp(max=size - 1)
        for s, scale, offset, size in zip(
            shape, placement.scale, placement.offset, placement.shape, strict=True
        )
    ]
    at = tuple(torch.meshgrid(*index, indexing="ij"))
    classes = None if truth.classes is None else truth.classes[at]
    instances = truth.instances
    if instances is not None and instances.masks is not None:
        maps = instances.masks.maps.movedim(0, -1)[at].movedim(-1, 0)
        instances = instances.follow(replace(instances.masks, maps=maps))
    elif instances is not None:
        instances = instances.within(placement.offset, placement.scale, shape)
    return Segmentation(classes, instances)
