"""Linear interpolation on boxes, by one small matrix per box and axis.

R boxes, D axes, P pixels along the longest of the boxes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def applied(values: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Values [R, *S] through a matrix [R, T_i, S_i] per axis: [R, *T]."""
    for matrix in matrices:
        others = values.shape[2:]
        through = matrix @ values.flatten(2)
        values = through.unflatten(2, others).movedim(1, -1)  # the axis goes last, D times
    return values


def between_cells(low: Tensor, high: Tensor, cells: int, pixels: Tensor) -> Tensor:
    """[R, P, cells] how the centres of pixels [R, P] lie between those of cells of low…high [R].

    Beyond the outermost centres there is their value.
    """
    each = cells / (high - low)
    at = (pixels + 0.5 - low[:, None]) * each[:, None] - 0.5
    return _hats(at.clamp(0, cells - 1), torch.arange(cells, device=at.device))


def cell_means(low: Tensor, high: Tensor, cells: int, size: int) -> tuple[Tensor, Tensor]:
    """[R, cells, P] the mean of some samples between pixels in each cell of low…high [R].

    A sample for every pixel of a cell, rounded up, as `roi_align` takes them: less than a pixel
    beyond the border of an axis of `size` pixels it sees the border, further out nothing.

    Returns also the pixels [R, P].
    """
    low, high = low.double(), high.double()
    first = (low - 0.5).floor().clamp(0, size - 1)
    last = (high + 0.5).ceil().clamp(max=size) - 1
    longest = int((last - first).max()) + 1 if len(low) else 1
    pixels = first[:, None] + torch.arange(max(longest, 1), device=low.device)
    step = ((high - low) / cells)[:, None, None]
    count = step.ceil().clamp(min=1)
    number = torch.arange(int(count.max()) if len(low) else 1, device=low.device)
    cell = torch.arange(cells, device=low.device)[:, None]
    at = low[:, None, None] + (cell + (number + 0.5) / count) * step - 0.5
    seen = (at >= -1) & (at <= size) & (number < count)
    weights = _hats(at.clamp(0, size - 1), pixels[:, None, None]) * seen[..., None]
    return (weights.sum(2) / count).float(), pixels.long().clamp(max=size - 1)


def _hats(at: Tensor, centres: Tensor) -> Tensor:
    """[..., n] 1 on a centre [..., n], falling to 0 at a distance of 1."""
    return (1 - (at[..., None] - centres).abs()).clamp(min=0)
