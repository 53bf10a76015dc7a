"""A pyramid out of one map (Li et al., ViTDet, ECCV 2022), N-D."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..geometry import per_axis
from ..layers import ChannelNorm, conv, max_pool, upsampling
from ..structures import Pyramid, PyramidSpec
from . import Neck, pyramid_of

__all__ = ["SimplePyramid"]


class SimplePyramid(Neck):
    """Levels from the last map alone, each made finer or coarser, then brought to equal channels.

    Args:
        spec: what the backbone promises.
        out_channels: channels of every level.
        factors: of each level's size, finest first: 4, 2, 1 or 1/2, each one number or one per
            axis (where slices are thick, `[1, 4, 4]`).

    Raises ValueError for other factors, and unless they are finest first.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        out_channels: int = 256,
        factors: Sequence[float | Sequence[float]] = (4.0, 2.0, 1.0, 0.5),
    ) -> None:
        super().__init__()
        scales = [per_axis(f, spec.spatial_dims) for f in factors]
        if any(n not in (4, 2, 1, 0.5) for s in scales for n in s):
            raise ValueError(f"expected factors 4, 2, 1 or 0.5, got {[*factors]}")
        if scales != sorted(scales, reverse=True):
            raise ValueError(f"expected the finest level first, got factors {[*factors]}")
        channels = spec.channels[-1]
        self.levels = nn.ModuleList(_level(channels, out_channels, s) for s in scales)
        base = spec.strides[-1]
        strides = [tuple(b / f for b, f in zip(base, s, strict=True)) for s in scales]
        self.spec = pyramid_of(out_channels, strides, spec.multiple)

    def forward(self, pyramid: Pyramid) -> Pyramid:
        """Maps, of which the last [B, C, *S] counts, to maps [B, out_channels, *S_l]."""
        return tuple(level(pyramid[-1]) for level in self.levels)


def _level(channels: int, out_channels: int, factor: Sequence[float]) -> nn.Sequential:
    """Halves the channels with each doubling: [B, channels, *S] -> [B, out, *(factor * S)]."""
    dims, layers = len(factor), nn.Sequential()
    for least in (2, 4):
        step = [2 if f >= least else 1 for f in factor]
        if max(step) > 1:
            if len(layers):
                layers.extend([ChannelNorm(channels), nn.GELU()])
            layers.append(upsampling(step, channels, channels // 2))
            channels //= 2
    if min(factor) < 1:
        layers.append(max_pool([2 if f < 1 else 1 for f in factor], overlap=False))
    layers.extend([conv(dims, channels, out_channels, bias=False), ChannelNorm(out_channels)])
    layers.extend(
        [conv(dims, out_channels, out_channels, 3, bias=False), ChannelNorm(out_channels)]
    )
    return layers
