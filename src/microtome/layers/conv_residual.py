"""A convolutional bottleneck beside a skip (Li et al., ViTDet, ECCV 2022)."""

from __future__ import annotations

from torch import Tensor, nn

from .channels import ChannelNorm
from .conv import conv


class ConvResidual(nn.Module):
    """Three pixels of context on half of the channels; at first without effect."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.conv1 = conv(spatial_dims, channels, inner, bias=False)
        self.norm1 = ChannelNorm(inner)
        self.conv2 = conv(spatial_dims, inner, inner, 3, bias=False)
        self.norm2 = ChannelNorm(inner)
        self.conv3 = conv(spatial_dims, inner, channels, bias=False)
        self.norm3 = ChannelNorm(channels)
        self.activation = nn.GELU()
        nn.init.zeros_(self.norm3.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *S] -> [B, C, *S]."""
        y = self.activation(self.norm1(self.conv1(x)))
        y = self.activation(self.norm2(self.conv2(y)))
        out: Tensor = x + self.norm3(self.conv3(y))
        return out
