"""A dense semantic head: one class for each pixel, from any pyramid.

All levels, brought to one width, are summed at the finest (as in Panoptic FPN, Kirillov et al.,
2019), mixed by a 3x3 convolution, and brought to stride 4 by steps of two where the finest level is
coarser: so a plain vision transformer with one map at stride 16 gives usable contours. On one level
at stride 1, a U-Net's output, it is a single 1x1 convolution.

B batch, K classes, *S spatial shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ..layers import conv, conv_block, resize_maps
from ..losses import Balance
from ..structures import Classes, Pyramid, PyramidSpec
from .semantic import DensePrediction, SemanticHead

__all__ = ["Dense", "DensePrediction"]

FINE = 4  # the stride from which logits are resized to the canvas in one step


class Dense(SemanticHead):
    """A weighted sum of dense losses on a softmax over exclusive classes.

    Args:
        spec: what the backbone or neck returns.
        classes: the class table.
        channels: the width that all levels are brought to.
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
        channels: int = 128,
        weights: Mapping[str, float] | None = None,
        class_weights: Balance | Sequence[float] | None = None,
        num_classes: int | None = None,
        options: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__(classes, weights, class_weights, num_classes, options)
        dims, plain = spec.spatial_dims, _is_image_sized(spec)
        self.levels = nn.ModuleList(
            nn.Identity() if plain else conv_block(dims, c, channels, 1) for c in spec.channels
        )
        self.steps = [] if plain else _steps(spec.strides[0])
        fuse = 0 if plain else 1 + len(self.steps)
        self.fuse = nn.ModuleList(conv_block(dims, channels, channels) for _ in range(fuse))
        self.classify = conv(dims, spec.channels[0] if plain else channels, classes.num_classes)

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
