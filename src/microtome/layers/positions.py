"""Positions of the cells of a grid, in any number of axes.

N cells in array order, D axes, E features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["centres", "sincos_positions"]

TEMPERATURE = 10_000.0


def centres(shape: Sequence[int], device: torch.device | None = None) -> Tensor:
    """[N, D] centres of the cells, array order, 0…1 from border to border."""
    axes = [(torch.arange(s, device=device) + 0.5) / s for s in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)


def sincos_positions(
    shape: Sequence[int], features: int, device: torch.device | None = None
) -> Tensor:
    """[N, E] fixed positions: per axis the sines, then the cosines, of all frequencies.

    In two dimensions the numbers are those of the masked autoencoder (He et al., 2022). Features
    that the axes cannot share evenly are zeros at the end.
    """
    count = features // (2 * len(shape))
    frequencies = TEMPERATURE ** -(torch.arange(count, device=device) / count)
    axes = [torch.arange(s, device=device) for s in shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)  # [N, D]
    angles = grid[..., None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], -1).flatten(1)
    return torch.nn.functional.pad(waves, (0, features - waves.shape[1]))
