"""A dense semantic head: one class for each pixel, from any pyramid.

All levels, brought to one width, are summed at the finest (as in Panoptic FPN, Kirillov et al.,
2019), mixed by a 3x3 convolution, and brought to stride 4 by steps of two where the finest level is
coarser: so a plain vision transformer with one map at stride 16 gives usable contours. On one level
at stride 1, a U-Net's output, it is a single 1x1 convolution.

B batch, K classes, *S spatial shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor, nn

from ..layers import conv, conv_block, resize_maps
from ..structures import Classes, Pyramid, PyramidSpec
from .semantic import DensePrediction, LossArguments, SemanticHead

__all__ = ["Dense", "DensePrediction"]

FINE = 4  # the stride from which logits are resized to the canvas in one step


class Dense(SemanticHead):
    """A weighted sum of dense losses on a softmax over exclusive classes.

    Args:
        spec: what the backbone or neck returns.
        classes: the class table.
        channels: the width that all levels are brought to.
        losses: `weights`, `class_weights`, `num_classes` and `options`, as in `SemanticHead`.

    Raises ValueError as `SemanticHead` does.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        classes: Classes,
        *,
        channels: int = 128,
        **losses: Unpack[LossArguments],
    ) -> None:
        super().__init__(classes, **losses)
        dims, plain = spec.spatial_dims, _is_image_sized(spec)
        self.levels = nn.ModuleList(
            nn.Identity() if plain else conv_block(dims, c, channels, 1) for c in spec.channels
        )
        self.steps = [] if plain else _steps(spec.strides[0])
        fuse = 0 if plain else 1 + len(self.steps)
        self.fuse = nn.ModuleList(conv_block(dims, channels, channels) for _ in range(fuse))
        self.classify = conv(dims, spec.channels[0] if plain else channels, self.outputs)

    def logits(self, pyramid: Pyramid, canvas: Sequence[int]) -> Tensor:
        """Sum the levels, mix them, and enlarge them by steps."""
        shape = pyramid[0].shape[2:]
        x = resize_maps(self.levels[0](pyramid[0]), shape)
        for level, maps in zip(self.levels[1:], pyramid[1:], strict=True):
            x = x + resize_maps(level(maps), shape)
        for index, fuse in enumerate(self.fuse):
            if index:
                factors = self.steps[index - 1]
                x = resize_maps(x, [s * f for s, f in zip(x.shape[2:], factors, strict=True)])
            x = fuse(x)
        out: Tensor = self.classify(x)
        return out


def _is_image_sized(spec: PyramidSpec) -> bool:
    return len(spec.strides) == 1 and set(spec.strides[0]) == {1.0}


def _steps(strides: Sequence[float]) -> list[tuple[int, ...]]:
    """Factors per axis, 1 or 2, that bring strides to `FINE` or below: 14 -> 7 -> 3.5."""
    steps, left = [], list(strides)
    while max(left) > FINE:
        factors = tuple(2 if s > FINE else 1 for s in left)
        left = [s / f for s, f in zip(left, factors, strict=True)]
        steps.append(factors)
    return steps
