"""Which places of an encoded image become queries, and with which boxes they begin.

Two-stage selection (Zhu et al., Deformable DETR, ICLR 2021; Zhang et al., DINO, ICLR 2023) and
boxes from masks (Li et al., Mask DINO, CVPR 2023).

B batch, N places of all levels, Q queries, E channels, D axes, *S the shape of the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from ..layers import centres
from ..layers.map_positions import map_extents, valid_cells
from ..structures import ImageList
from .maskdino_boxes import box_logits, image_share

__all__ = ["Places", "around_masks", "boxes_of_masks"]

SIZE = 0.05  # of the box that a place of the finest level proposes; doubled with every level
BORDER = 0.01  # centres and sizes nearer than this to 0 or 1 propose nothing
_CELLS_AT_ONCE = 2**23  # of masks that are held at a time


class Places(NamedTuple):
    """All places of the encoded levels, finest level first.

    Attributes:
        values: [B, N, E].
        shapes: of each level.
        valid_mask: [B, N], False on padding.
        proposals: [B, N, 2D] the logits of the box that each place proposes.
        usable: [B, N] those whose proposal is a box well within the image.
    """

    values: Tensor
    shapes: list[Sequence[int]]
    valid_mask: Tensor
    proposals: Tensor
    usable: Tensor

    @classmethod
    def of(cls, levels: Sequence[Tensor], images: ImageList) -> Places:
        """Of maps [B, E, *S_l], finest first."""
        shapes: list[Sequence[int]] = [x.shape[2:] for x in levels]
        values = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], 1)
        extents = [map_extents(images.shapes, images.canvas, s) for s in shapes]
        valid = [valid_cells(s, e).flatten(1) for s, e in zip(shapes, extents, strict=True)]
        valid_mask = torch.cat(valid, 1)
        share = image_share(images)[:, None]
        boxes = []
        for level, shape in enumerate(shapes):
            at = centres(shape, values.device) / share  # [B, N_l, D]
            boxes.append(torch.cat([at, torch.full_like(at, SIZE * 2**level)], -1))
        proposed = torch.cat(boxes, 1)
        usable = ((proposed > BORDER) & (proposed < 1 - BORDER)).all(-1) & valid_mask
        return cls(values, shapes, valid_mask, box_logits(proposed), usable)


def around_masks(logits: Tensor, embeddings: Tensor, features: Tensor, images: ImageList) -> Tensor:
    """Logits of boxes [B, Q, 2D] around masks; where a mask is empty, those given.

    Args:
        logits: [B, Q, 2D] of the boxes that places propose.
        embeddings: [B, Q, E] of their masks.
        features: [B, E, *S].
        images: where the images end.
    """
    around = boxes_of_masks(embeddings, features, images)
    empty = (around == 0).all(-1, keepdim=True)
    return torch.where(empty, logits, box_logits(around))


def boxes_of_masks(embeddings: Tensor, features: Tensor, images: ImageList) -> Tensor:
    """Boxes around masks, where their probability is above a half: zeros for an empty mask.

    Args:
        embeddings: [B, Q, E] of the masks, which are held a few at a time.
        features: [B, E, *S].
        images: where the images end; masks beyond do not count.

    Returns:
        [B, Q, 2D] centres and sizes as parts of the image.
    """
    shape = features.shape[2:]
    valid = valid_cells(shape, map_extents(images.shapes, images.canvas, shape))[:, None]
    at_once = max(1, _CELLS_AT_ONCE // (len(features) * prod(shape)))
    edges = []
    for some in embeddings.split(at_once, 1):
        inside = (some @ features.flatten(2)).unflatten(2, shape) > 0
        edges.append(_edges(inside & valid))
    low, high = torch.cat(edges, 1).chunk(2, -1)
    canvas = torch.tensor(shape, device=features.device)
    share = image_share(images)[:, None]
    low, high = low / canvas / share, (high / canvas / share).clamp(max=1)
    return torch.cat([(low + high) / 2, high - low], -1)


def _edges(masks: Tensor) -> Tensor:
    """First cell and end of masks [B, Q, *S] on each axis: [B, Q, 2D], zeros for an empty one."""
    dims = masks.ndim - 2
    low, high = [], []
    for axis in range(dims):
        others = [2 + other for other in range(dims) if other != axis]
        line = masks.any(others) if others else masks  # [B, Q, S]
        cells = torch.arange(line.shape[2], device=masks.device)
        high.append(torch.where(line, cells + 1, 0).amax(2))
        low.append(torch.where(line, cells, line.shape[2]).amin(2))
    ends = torch.stack(high, -1)
    return torch.cat([torch.stack(low, -1).minimum(ends), ends], -1)
