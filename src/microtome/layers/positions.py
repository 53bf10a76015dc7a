"""The cells of a grid of any number of axes: where they are, and embeddings of that."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def centres(shape: Sequence[int], device: torch.device | None = None) -> Tensor:
    """[N, D] centres of a grid's cells in array order, 0…1 from border to border."""
    axes = [(torch.arange(s, device=device, dtype=torch.float32) + 0.5) / s for s in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)


def sincos_positions(
    shape: Sequence[int], dim: int, device: torch.device | None = None, temperature: float = 1e4
) -> Tensor:
    """Fixed embeddings [N, dim] of a grid's cells (Vaswani et al., 2017), an equal share per axis.

    Each share holds sines, then cosines, of the cell's number along the axis at frequencies from
    1 down to 1 / temperature; what the shares leave of `dim` is zero.
    """
    half = dim // (2 * len(shape))
    rate = temperature ** -(torch.arange(half, device=device) / max(half, 1))
    axes = [torch.arange(s, device=device, dtype=torch.float32) for s in shape]
    where = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)  # [N, D]
    angle = where[..., None] * rate  # [N, D, half]
    waves = torch.cat([angle.sin(), angle.cos()], 2).flatten(1)
    return F.pad(waves, (0, dim - waves.shape[1]))
