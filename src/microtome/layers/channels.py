"""Norms over the channels of maps with any number of axes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel (Ba et al., 2016): [B, C, *S] -> [B, C, *S]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class ResponseNorm(nn.Module):
    """Global response normalisation (Woo et al., ConvNeXt V2, CVPR 2023): [B, *S, C] -> the same.

    Channels compete: each is scaled by its norm over the image beside that of the others.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise."""
        pixels = tuple(range(1, x.ndim - 1))
        response = torch.linalg.vector_norm(x, dim=pixels, keepdim=True)
        share = response / (response.mean(-1, keepdim=True) + 1e-6)
        return x + torch.addcmul(self.bias, self.weight * share, x)
