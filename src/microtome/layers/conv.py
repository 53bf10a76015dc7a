"""Convolutions by the number of spatial axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..geometry import per_axis

Norm = Literal["group", "batch", "frozen"]

_Layers = dict[int, Callable[..., nn.Module]]  # by the number of axes
_CONV: _Layers = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: _Layers = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL: _Layers = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_BATCH_NORM: _Layers = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def conv(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: int | Sequence[int] = 1,
    bias: bool = True,
    stride: int | Sequence[int] = 1,
    groups: int = 1,
) -> nn.Module:
    """A convolution that divides the spatial shape by `stride`, rounding up.

    `kernel_size` (odd) and `stride` are one number or one per axis, in pixels.
    """
    kernel = per_axis(kernel_size, spatial_dims)
    return _CONV[spatial_dims](
        in_channels,
        out_channels,
        kernel,
        stride=per_axis(stride, spatial_dims),
        padding=tuple(k // 2 for k in kernel),
        groups=groups,
        bias=bias,
    )


def patches(patch: Sequence[int], in_channels: int, out_channels: int) -> nn.Module:
    """A convolution that turns each patch of pixels, `patch` per axis, into one vector."""
    size = tuple(patch)
    return _CONV[len(size)](in_channels, out_channels, size, stride=size)


def upsampling(factor: Sequence[int], in_channels: int, out_channels: int) -> nn.Module:
    """A transposed convolution that multiplies the spatial shape by `factor`, one per axis."""
    size = tuple(factor)
    return _TRANSPOSED[len(size)](in_channels, out_channels, size, stride=size)


def doubling(spatial_dims: int, channels: int) -> nn.Module:
    """A transposed convolution that doubles the spatial shape."""
    return upsampling((2,) * spatial_dims, channels, channels)


def max_pool(stride: Sequence[int], overlap: bool = True) -> nn.Module:
    """Largest of three pixels per axis; divides the spatial shape by `stride`, rounding up.

    Without `overlap` it is the largest of `stride` pixels, and a rest is left out.
    """
    size = tuple(stride)
    pool = _POOL[len(size)]
    return pool(3, stride=size, padding=1) if overlap else pool(size, stride=size)


def norm(kind: Norm, spatial_dims: int, channels: int) -> nn.Module:
    """Group norm, or batch norm, which Lightning's `sync_batchnorm` joins over processes."""
    if kind == "group":
        return group_norm(channels)
    if kind == "frozen":
        return FrozenNorm(channels)
    return _BATCH_NORM[spatial_dims](channels)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm (Wu & He, 2018): the same for any batch size.

    At most 32 groups of at least four channels where that divides, so that one pixel is enough.
    """
    return nn.GroupNorm(max(1, gcd(128, channels) // 4), channels)


class FrozenNorm(nn.Module):
    """Batch norm with the statistics and factors of published weights, which stay as they are.

    For detectors, whose batches are too small for statistics of their own.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 1.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))
        for name in ("bias", "running_mean"):
            self.register_buffer(name, torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *S] -> [B, C, *S]."""
        parts = self.running_mean, self.running_var, self.weight, self.bias
        return F.batch_norm(x, *parts, eps=self.eps)


def conv_block(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 3
) -> nn.Sequential:
    """Convolution, group norm, GELU: [B, in, *S] -> [B, out, *S]."""
    return nn.Sequential(
        conv(spatial_dims, in_channels, out_channels, kernel_size, bias=False),
        group_norm(out_channels),
        nn.GELU(),
    )
