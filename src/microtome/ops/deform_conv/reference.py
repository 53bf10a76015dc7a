"""Pure PyTorch, written to be read: the definition."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from ..point_sample import reference as sampling


def run(
    value: Tensor,
    offsets: Tensor,
    modulation: Tensor,
    lattice: Sequence[Sequence[int]],
    softmax: bool = False,
) -> Tensor:
    """[B, *S, G, C] -> [B, *O, G, C]."""
    batch, *shape, groups, channels = value.shape
    _, *output, _, taps, dims = offsets.shape
    dtype = torch.promote_types(value.dtype, offsets.dtype)
    weights = modulation.to(dtype).softmax(-1) if softmax else modulation.to(dtype)
    where = _taps(output, lattice, offsets) + offsets.flatten(1, dims)  # [B, O, G, K, D]
    size = torch.tensor(shape, dtype=dtype, device=offsets.device)
    points = ((where + 0.5) / size).transpose(1, 2)  # [B, G, O, K, D], 0…1
    maps = value.to(dtype).flatten(1, dims).permute(0, 2, 3, 1)  # [B, G, C, S]
    sampled = sampling.run(
        maps.reshape(batch * groups, channels, *shape),
        points.reshape(batch * groups, prod(output) * taps, dims),
    ).view(batch, groups, channels, prod(output), taps)
    weights = weights.flatten(1, dims).transpose(1, 2)[:, :, None]  # [B, G, 1, O, K]
    summed: Tensor = (sampled * weights).sum(-1).permute(0, 3, 1, 2)  # [B, O, G, C]
    return summed.reshape(batch, *output, groups, channels).to(value.dtype)


def _taps(output: Sequence[int], lattice: Sequence[Sequence[int]], like: Tensor) -> Tensor:
    """[O, 1, K, D] pixel of each tap of each place before it is moved."""

    def grid(sizes: Sequence[int]) -> Tensor:
        axes = [torch.arange(size, device=like.device) for size in sizes]
        cells: Tensor = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        return cells.flatten(0, -2)

    kernel_size, *rest = lattice
    stride, padding, dilation = (torch.tensor(sides, device=like.device) for sides in rest)
    places = grid(output) * stride - padding  # [O, D]
    taps: Tensor = places[:, None, None] + grid(kernel_size) * dilation
    return taps.to(like.dtype)


def refusals(
    value: Tensor,
    offsets: Tensor,
    modulation: Tensor,
    lattice: Sequence[Sequence[int]],
    softmax: bool = False,
) -> list[str]:
    """Those of the sampling."""
    return sampling.refusals(value, offsets)
