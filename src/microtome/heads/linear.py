"""A linear head: each pixel's class from the channels above it, and nothing else.

What a frozen encoder knows by itself is measured so (Oquab et al., "DINOv2", 2024).

K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor, nn

from ..layers import conv, resize_maps
from ..structures import Classes, Pyramid, PyramidSpec
from .semantic import LossArguments, SemanticHead

__all__ = ["Linear"]


class Linear(SemanticHead):
    """A weighted sum of all channels of all levels, for each class.

    Args:
        spec: what the backbone or neck returns.
        classes: the class table.
        losses: `weights`, `class_weights`, `num_classes` and `options`, as in `SemanticHead`.

    Raises ValueError as `SemanticHead` does.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        classes: Classes,
        **losses: Unpack[LossArguments],
    ) -> None:
        super().__init__(classes, **losses)
        dims, count = spec.spatial_dims, self.outputs
        self.classify = nn.ModuleList(
            conv(dims, channels, count, bias=level == 0)
            for level, channels in enumerate(spec.channels)
        )

    def logits(self, pyramid: Pyramid, canvas: Sequence[int]) -> Tensor:
        """Sum the levels' logits at the finest; sums and resizing may change places."""
        shape = pyramid[0].shape[2:]
        x: Tensor = self.classify[0](pyramid[0])
        for classify, maps in zip(self.classify[1:], pyramid[1:], strict=True):
            x = x + resize_maps(classify(maps), shape)
        return x
