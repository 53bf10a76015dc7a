"""Positions of the cells of a map whose image may end before it does, in any number of axes.

B batch, D axes, N cells, E features, *S the map's shape. `extents` [B, D] says where the images
end, in cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, pi

import torch
from torch import Tensor

__all__ = ["map_extents", "sine_positions", "valid_cells"]

TEMPERATURE = 10_000.0


def map_extents(shapes: Tensor, canvas: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Images of `shapes` [B, D] pixels on a canvas, in cells of a map [..., *shape] of it."""
    scale = [s / c for s, c in zip(shape, canvas, strict=True)]
    return shapes * torch.tensor(scale, device=shapes.device)


def valid_cells(shape: Sequence[int], extents: Tensor) -> Tensor:
    """[B, *S] bool: True where a cell holds at least one pixel of the image."""
    axes = [torch.arange(s, device=extents.device) for s in shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    return (grid < extents.view(-1, *[1] * len(shape), len(shape))).all(-1)


def sine_positions(shape: Sequence[int], extents: Tensor, features: int) -> Tensor:
    """Sines and cosines of the relative place along each axis (Carion et al., DETR, 2020).

    Each axis gets the same number of features; those that are too many are cut off at the end.

    Returns:
        [B, N, features], the cells in array order.
    """
    dims = len(shape)
    each = 2 * ceil(features / (2 * dims))
    powers = torch.arange(0, each, 2, device=extents.device) / each
    parts = []
    for axis, size in enumerate(shape):
        cells = torch.arange(1, size + 1, device=extents.device)
        places = 2 * pi * cells / (extents[:, axis, None] + 1e-6)  # [B, S]
        angles = places[..., None] / TEMPERATURE**powers
        waves = torch.stack([angles.sin(), angles.cos()], -1).flatten(2)
        around = [1 if other != axis else size for other in range(dims)]
        parts.append(waves.view(-1, *around, each).expand(-1, *shape, each))
    return torch.cat(parts, -1).flatten(1, -2)[..., :features]
