"""Linear interpolation on boxes, one small matrix per axis: nothing larger than the box is made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def applied(values: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Values [*S] through a matrix [T_i, S_i] per axis: [*T]."""
    for matrix in matrices:
        values = torch.tensordot(values, matrix, ([0], [1]))  # the axis goes last, D times
    return values


def between_cells(low: float, high: float, cells: int, pixels: tuple[int, int]) -> Tensor:
    """[stop - start, cells] how the centres of pixels lie between those of cells of low…high.

    Beyond the outermost centres there is their value.
    """
    centres = torch.arange(*pixels) + 0.5
    at = (centres - low) * (cells / (high - low)) - 0.5
    return _hats(at.clamp(0, cells - 1), 0, cells)


def cell_means(low: float, high: float, cells: int, pixels: tuple[int, int], size: int) -> Tensor:
    """[cells, stop - start] the mean of some samples between pixels in each cell of low…high.

    A sample for every pixel of a cell, rounded up, as `roi_align` takes them: less than a pixel
    beyond the border of an axis of `size` pixels it sees the border, further out nothing.
    """
    count = max(1, -int(-(high - low) // cells))
    steps = (torch.arange(cells * count) + 0.5) * ((high - low) / (cells * count))
    at = low + steps - 0.5
    seen = (at >= -1) & (at <= size)
    weights = _hats(at.clamp(0, size - 1), *pixels) * seen[:, None]
    return weights.view(cells, count, -1).mean(1)


def _hats(at: Tensor, start: int, stop: int) -> Tensor:
    """[len(at), stop - start] 1 on a pixel, falling to 0 on its neighbours."""
    return (1 - (at[:, None] - torch.arange(start, stop)).abs()).clamp(min=0)
