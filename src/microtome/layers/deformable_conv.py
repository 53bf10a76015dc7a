"""Deformable convolution as a layer (InternImage's DCNv3: Wang et al., CVPR 2023), N-D.

B batch, *S shape, C channels, G groups, K taps of the kernel in array order, D axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..ops.deform_conv import deform_conv
from .channels import ChannelNorm
from .conv import conv

__all__ = ["DeformableConv"]


class DeformableConv(nn.Module):
    """Each pixel sums taps that it moves and weighs itself, one set per group of channels.

    Args:
        channels: C.
        groups: G.
        kernel: taps per axis, odd.
        scale: multiplies distances between taps, and their offsets.

    Raises ValueError when `groups` does not divide `channels`.
    """

    def __init__(self, channels: int, groups: int, kernel: Sequence[int], scale: int = 1) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"{groups} groups do not divide {channels} channels")
        self.groups, self.kernel, self.scale = groups, tuple(kernel), scale
        dims, taps = len(self.kernel), prod(self.kernel)
        self.dw_conv = nn.Sequential(
            conv(dims, channels, channels, kernel, groups=channels),
            ChannelNorm(channels),
            nn.GELU(),
        )
        self.offsets = nn.Linear(channels, groups * taps * dims)
        self.modulation = nn.Linear(channels, groups * taps)
        self.input_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """At first a plain average over the taps."""
        for layer in (self.offsets, self.modulation):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.input_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, *S, C] -> [B, *S, C]."""
        seen = self.dw_conv(x.movedim(-1, 1)).movedim(1, -1)
        taps = prod(self.kernel)
        offsets = self._offsets(seen).unflatten(-1, (self.groups, taps, len(self.kernel)))
        modulation = self.modulation(seen).unflatten(-1, (self.groups, taps))
        summed = deform_conv(
            self.input_proj(x).unflatten(-1, (self.groups, -1)),
            self.scale * offsets,
            modulation,
            self.kernel,
            padding=[self.scale * (k // 2) for k in self.kernel],
            dilation=self.scale,
            softmax=True,
        )
        out: Tensor = self.output_proj(summed.flatten(-2))
        return out

    def _offsets(self, seen: Tensor) -> Tensor:
        """In pixels, at least float32 under autocast too: half precision has coarse steps."""
        dtype = torch.promote_types(self.offsets.weight.dtype, torch.float32)
        with torch.autocast(seen.device.type, enabled=False):
            weight, bias = self.offsets.weight.to(dtype), self.offsets.bias.to(dtype)
            offsets: Tensor = F.linear(seen.to(dtype), weight, bias)
        return offsets
