"""UPerNet (Xiao et al., ECCV 2018): pooling at several scales, a feature pyramid, all levels fused.

B batch, K classes, *S spatial shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from ..layers import conv, conv_block, pool_to, resize_maps
from ..structures import Classes, Pyramid, PyramidSpec
from .semantic import LossArguments, SemanticHead

__all__ = ["UPerNet"]

BINS = (1, 2, 3, 6)


class UPerNet(SemanticHead):
    """The coarsest level sees the whole image; from there down each level adds its detail.

    A plain vision transformer has one level only: give it the neck `SimplePyramid`.

    Args:
        spec: what the backbone or neck returns.
        classes: the class table.
        channels: the width that all levels are brought to.
        bins: into how many parts per axis the coarsest level is pooled.
        losses: `weights`, `class_weights`, `num_classes` and `options`, as in `SemanticHead`.

    Raises ValueError as `SemanticHead` does.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        classes: Classes,
        *,
        channels: int = 256,
        bins: Sequence[int] = BINS,
        **losses: Unpack[LossArguments],
    ) -> None:
        super().__init__(classes, **losses)
        dims, (*finer, coarsest) = spec.spatial_dims, spec.channels
        self.bins = tuple(bins)
        self.pooled = nn.ModuleList(conv_block(dims, coarsest, channels, 1) for _ in self.bins)
        self.context = conv_block(dims, coarsest + len(self.bins) * channels, channels)
        self.lateral = nn.ModuleList(conv_block(dims, c, channels, 1) for c in finer)
        self.smooth = nn.ModuleList(conv_block(dims, channels, channels) for _ in finer)
        self.fuse = conv_block(dims, len(spec.channels) * channels, channels)
        self.classify = conv(dims, channels, self.outputs)

    def logits(self, pyramid: Pyramid, canvas: Sequence[int]) -> Tensor:
        """From the coarsest level to the finest, where all are fused."""
        *finer, coarsest = pyramid
        shape, fine = coarsest.shape[2:], pyramid[0].shape[2:]
        scales = [
            resize_maps(pooled(pool_to(coarsest, bins)), shape)
            for pooled, bins in zip(self.pooled, self.bins, strict=True)
        ]
        x = self.context(torch.cat([coarsest, *scales], 1))
        levels = [x]
        for index in reversed(range(len(finer))):
            maps = self.lateral[index](finer[index])
            x = maps + resize_maps(x, maps.shape[2:])
            levels.append(self.smooth[index](x))
        fused = self.fuse(torch.cat([resize_maps(level, fine) for level in levels], 1))
        out: Tensor = self.classify(fused)
        return out
