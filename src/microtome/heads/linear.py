"""A linear head: each pixel's class from the channels above it, and nothing else.

What a frozen encoder knows by itself is measured so (Oquab et al., "DINOv2", 2024).

K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ..layers import conv, resize_maps
from ..losses import Balance
from ..structures import Classes, Pyramid, PyramidSpec
from .semantic import SemanticHead

__all__ = ["Linear"]


class Linear(SemanticHead):
    """A weighted sum of all channels of all levels, for each class.

    Args:
        spec: what the backbone or neck returns.
        classes: the class table.
        weights: of losses, 1 of `cross_entropy` and `dice` by default (see `SemanticHead`).
        class_weights: K factors in `cross_entropy` and `focal`, none by default; or how the
            training set gives them: `inverse` or `median` frequency (see `losses.balanced`).
        num_classes: K; never needed, checked if given.
        options: of losses, by the name of the loss and of the option.

    Raises ValueError for classes that do not exclude each other, for unknown losses, and for
    another number of classes or of their weights.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        classes: Classes,
        *,
        weights: Mapping[str, float] | None = None,
        class_weights: Balance | Sequence[float] | None = None,
        num_classes: int | None = None,
        options: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__(classes, weights, class_weights, num_classes, options)
        dims, count = spec.spatial_dims, classes.num_classes
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
