"""Convolutions by the number of spatial axes."""

from __future__ import annotations

from math import gcd

from torch import nn

_CONV: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}


def conv(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 1, bias: bool = True
) -> nn.Module:
    """A convolution that keeps the spatial shape; `kernel_size` is odd, in pixels."""
    return _CONV[spatial_dims](
        in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias
    )


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm (Wu & He, 2018): the same for any batch size.

    At most 32 groups of at least four channels where that divides, so that one pixel is enough.
    """
    return nn.GroupNorm(max(1, gcd(128, channels) // 4), channels)


def conv_block(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 3
) -> nn.Sequential:
    """Convolution, group norm, GELU: [B, in, *S] -> [B, out, *S]."""
    return nn.Sequential(
        conv(spatial_dims, in_channels, out_channels, kernel_size, bias=False),
        group_norm(out_channels),
        nn.GELU(),
    )
