"""Deformable convolution, N-D: DCNv3 (Wang et al., CVPR 2023) and DCNv4 (Xiong et al., CVPR 2024).

Each place sums the taps of a kernel, moved by offsets and weighted by modulation that the network
predicts per place. Version 3 takes the softmax of the modulation over the taps, version 4 does not.

Letters: B batch, *S shape of the value, *O shape of the answer, G groups, C channels of a group,
K taps of the kernel in array order (the last axis varies fastest), D axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from ...geometry import per_axis
from ..backend import Backend, choose
from . import cpu, gpu, reference

__all__ = ["BACKENDS", "deform_conv"]

BACKENDS = (
    Backend("gpu", gpu.run, gpu.refusals, gpu.tolerance, gpu.lacking),
    Backend("cpu", cpu.run, cpu.refusals, cpu.tolerance, cpu.lacking),
    Backend("reference", reference.run, reference.refusals, {}),
)

PerAxis = int | Sequence[int]


class Lattice(NamedTuple):
    """Where the taps lie before offsets move them, per axis."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def output(self, shape: Sequence[int]) -> tuple[int, ...]:
        """*O, as of any convolution."""
        sizes = zip(shape, *self, strict=True)
        return tuple((s + 2 * p - d * (k - 1) - 1) // step + 1 for s, k, step, p, d in sizes)


def deform_conv(
    value: Tensor,
    offsets: Tensor,
    modulation: Tensor,
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: PerAxis = 0,
    dilation: PerAxis = 1,
    softmax: bool = False,
) -> Tensor:
    """Sum the moved and weighted taps around each place, the channels of a group alike.

    A tap samples the value linearly between pixels; it is zero beyond the borders, as padding is.
    A published `offset_scale` multiplies offsets, and, for an odd kernel, dilation and what of the
    padding keeps the size.

    Args:
        value: [B, *S, G, C].
        offsets: [B, *O, G, K, D] array order, in pixels of the value, float32 or float64.
        modulation: [B, *O, G, K].
        kernel_size: taps, for all axes or each; likewise stride, padding and dilation.
        stride: pixels between places.
        padding: pixels before and after.
        dilation: pixels between taps.
        softmax: take that of the modulation over the taps first.

    Returns:
        [B, *O, G, C], of the value's dtype; accumulated in at least float32.

    Raises:
        ValueError: shapes or dtypes do not fit, or every backend refuses; all reasons are listed.
    """
    dims = value.ndim - 3
    if dims < 1:
        raise ValueError(f"deform_conv: value is [B, *S, G, C], got {list(value.shape)}")
    sides = (per_axis(side, dims) for side in (kernel_size, stride, padding, dilation))
    lattice = Lattice(*sides)
    wrong = _problems(value, offsets, modulation, lattice)
    if wrong:
        raise ValueError("deform_conv: " + "; ".join(wrong))
    args = value, offsets, modulation, lattice, softmax
    return choose("deform_conv", BACKENDS, *args).run(*args)


def _problems(value: Tensor, offsets: Tensor, modulation: Tensor, lattice: Lattice) -> list[str]:
    batch, *shape, groups, _ = value.shape
    least = zip(lattice, (1, 1, 0, 1), strict=True)
    if any(side < low for sides, low in least for side in sides):
        return [f"kernel size, stride and dilation are at least 1, padding 0, got {lattice}"]
    output = lattice.output(shape)
    if any(size < 0 for size in output):
        return [f"the kernel is larger than the padded value {list(value.shape)}: {lattice}"]
    taps = [batch, *output, groups, prod(lattice.kernel_size)]
    wrong = []
    if offsets.dtype not in (torch.float32, torch.float64):
        wrong.append(f"offsets must be float32 or float64, got {offsets.dtype}")
    if list(offsets.shape) != [*taps, len(shape)]:
        wrong.append(f"offsets are {[*taps, len(shape)]}, got {list(offsets.shape)}")
    if list(modulation.shape) != taps:
        wrong.append(f"modulation is {taps}, got {list(modulation.shape)}")
    return wrong
