"""Pixel decoder: levels exchange what they know, the finest becomes the features of the masks.

Deformable self-attention over the coarser levels (Zhu et al., Deformable DETR, ICLR 2021), then a
feature pyramid down to the finest level, as in Mask2Former (Cheng et al., CVPR 2022).

B batch, E channels, N positions of all encoded levels, L encoded levels, D axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..layers import centres, conv, group_norm, resize_maps
from ..layers.deformable import DeformableAttention
from ..layers.map_positions import map_extents, sine_positions, valid_cells
from ..structures import ImageList, Pyramid, PyramidSpec
from .query_layers import mlp

__all__ = ["DecodedPixels", "DeformableLayer", "DeformablePixelDecoder"]

WIDER = 4  # the feed-forward part than the positions
ENCODED = 3  # the number of levels, the coarsest ones, that attend to each other


class DecodedPixels(NamedTuple):
    """Features [B, E, *S] of the finest level, and the encoded maps, coarsest first."""

    features: Tensor
    levels: list[Tensor]


class Memory(NamedTuple):
    """What is known of N positions: where [1, N, D], position features [B, N, E], valid [B, N]."""

    reference: Tensor
    positions: Tensor
    valid_mask: Tensor
    shapes: list[Sequence[int]]


class DeformableLayer(nn.Module):
    """Deformable self-attention over all levels, then a feed-forward part; norms come after."""

    def __init__(self, attend: DeformableAttention, dim: int) -> None:
        super().__init__()
        self.attend = attend
        self.attend_norm, self.ffn_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ffn = mlp(dim, WIDER * dim, dim)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """[B, N, E] to the same; padding gives nothing to anybody."""
        query = x + memory.positions.to(x.dtype)
        seen = self.attend(query, memory.reference, x, memory.shapes, memory.valid_mask)
        x = self.attend_norm(x + seen)
        out: Tensor = self.ffn_norm(x + self.ffn(x))
        return out


class DeformablePixelDecoder(nn.Module):
    """The three coarsest levels, or all but the finest, are encoded; the others are merged in.

    A single level is encoded, and gives the features too.

    Args:
        spec: the levels.
        dim: E.
        layers: of deformable attention.
        num_heads: in each.
    """

    def __init__(self, spec: PyramidSpec, dim: int, layers: int, num_heads: int = 8) -> None:
        super().__init__()
        dims, levels = spec.spatial_dims, len(spec.channels)
        self.encoded = min(ENCODED, max(1, levels - 1))
        coarse, fine = spec.channels[levels - self.encoded :], spec.channels[: -self.encoded]
        self.project = nn.ModuleList(
            nn.Sequential(conv(dims, c, dim), group_norm(dim)) for c in coarse[::-1]
        )
        self.level_embed = nn.Parameter(torch.randn(self.encoded, dim))
        self.layers = nn.ModuleList(
            DeformableLayer(DeformableAttention(dim, self.encoded, dims, num_heads), dim)
            for _ in range(layers)
        )
        self.laterals = nn.ModuleList(
            nn.Sequential(conv(dims, c, dim, bias=False), group_norm(dim)) for c in fine
        )
        self.merges = nn.ModuleList(
            nn.Sequential(conv(dims, dim, dim, 3, bias=False), group_norm(dim), nn.ReLU())
            for _ in fine
        )
        self.to_features = conv(dims, dim, dim)

    def forward(self, pyramid: Pyramid, images: ImageList) -> DecodedPixels:
        """Maps [B, C_l, *S_l], finest first, to features and encoded levels."""
        coarse = pyramid[len(pyramid) - self.encoded :][::-1]
        maps = [p(x) for p, x in zip(self.project, coarse, strict=True)]
        memory = self._memory(maps, images)
        x = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)
        for layer in self.layers:
            x = layer(x, memory)
        sizes = [m[0, 0].numel() for m in maps]
        levels = [
            part.transpose(1, 2).unflatten(2, shape)
            for part, shape in zip(x.split(sizes, 1), memory.shapes, strict=True)
        ]
        return DecodedPixels(self._finest(levels[-1], pyramid), levels)

    def _finest(self, merged: Tensor, pyramid: Pyramid) -> Tensor:
        for index in reversed(range(len(self.laterals))):
            lateral = self.laterals[index](pyramid[index])
            merged = self.merges[index](lateral + resize_maps(merged, lateral.shape[2:]))
        features: Tensor = self.to_features(merged)
        return features

    def _memory(self, maps: list[Tensor], images: ImageList) -> Memory:
        shapes: list[Sequence[int]] = [m.shape[2:] for m in maps]
        extents = [map_extents(images.shapes, images.canvas, s) for s in shapes]
        positions = [
            sine_positions(s, e, self.level_embed.shape[1]) + embed
            for s, e, embed in zip(shapes, extents, self.level_embed, strict=True)
        ]
        valid = [valid_cells(s, e).flatten(1) for s, e in zip(shapes, extents, strict=True)]
        reference = torch.cat([centres(s, maps[0].device) for s in shapes])[None]
        return Memory(reference, torch.cat(positions, 1), torch.cat(valid, 1), shapes)
