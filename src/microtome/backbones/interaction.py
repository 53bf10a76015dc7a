"""How ViT-Adapter's pyramid and its transformer see each other (Chen et al., ICLR 2023).

Letters: B batch, N tokens of the transformer, M positions of the pyramid's levels, E channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from ..layers import DeformableAttention, conv

Shapes = Sequence[tuple[int, ...]]


class Injector(nn.Module):
    """The transformer looks at the pyramid, at first without effect: its gate begins at zero."""

    def __init__(self, dim: int, num_levels: int, spatial_dims: int, num_heads: int) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(dim, eps=1e-6)
        self.value_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attention = DeformableAttention(dim, num_levels, spatial_dims, num_heads)
        self.gamma = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, where: Tensor, pyramid: Tensor, shapes: Shapes) -> Tensor:
        """[B, N, E] at `where` [1, N, D] looks at [B, M, E] -> [B, N, E]."""
        seen = self.attention(self.query_norm(x), where, self.value_norm(pyramid), shapes)
        out: Tensor = x + self.gamma * seen
        return out


class Extractor(nn.Module):
    """The pyramid looks at the transformer; then a convolutional network on each level."""

    def __init__(self, dim: int, spatial_dims: int, num_heads: int, ffn_ratio: float) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(dim, eps=1e-6)
        self.value_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attention = DeformableAttention(dim, 1, spatial_dims, num_heads)
        self.ffn_norm = nn.LayerNorm(dim, eps=1e-6)
        self.ffn = ConvFFN(dim, int(dim * ffn_ratio), spatial_dims)

    def forward(
        self, pyramid: Tensor, where: Tensor, x: Tensor, grid: tuple[int, ...], shapes: Shapes
    ) -> Tensor:
        """[B, M, E] at `where` [1, M, D] looks at [B, N, E] on `grid` -> [B, M, E]."""
        seen = self.attention(self.query_norm(pyramid), where, self.value_norm(x), (grid,))
        pyramid = pyramid + seen
        out: Tensor = pyramid + self.ffn(self.ffn_norm(pyramid), shapes)
        return out


class ConvFFN(nn.Module):
    """Two linear layers with a depthwise convolution between, which knows each level's shape."""

    def __init__(self, dim: int, hidden: int, spatial_dims: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.depthwise = conv(spatial_dims, hidden, hidden, 3, groups=hidden)
        self.activation = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, shapes: Shapes) -> Tensor:
        """[B, M, E] -> [B, M, E]."""
        maps = to_maps(self.fc1(x), shapes)
        out: Tensor = self.fc2(self.activation(to_sequence([self.depthwise(m) for m in maps])))
        return out


def to_sequence(maps: Sequence[Tensor]) -> Tensor:
    """Maps [B, E, *S] -> [B, M, E], one level after the other."""
    return torch.cat([m.flatten(2).mT for m in maps], 1)


def to_maps(sequence: Tensor, shapes: Shapes) -> list[Tensor]:
    """[B, M, E] -> maps [B, E, *S]; the inverse of `to_sequence`."""
    levels = sequence.split([prod(s) for s in shapes], 1)
    return [x.mT.unflatten(2, s) for x, s in zip(levels, shapes, strict=True)]
