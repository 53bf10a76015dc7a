"""A dense semantic head: one class for each pixel, from any pyramid.

All levels, brought to one width, are summed at the finest (as in Panoptic FPN, Kirillov et al.,
2019), mixed by a 3x3 convolution, and brought to stride 4 by steps of two where the finest level is
coarser: so a plain vision transformer with one map at stride 16 gives usable contours. On one level
at stride 1, a U-Net's output, it is a single 1x1 convolution.

B batch, K classes, *S spatial shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn

from ..geometry import window
from ..layers import conv, conv_block, resize_maps
from ..losses import Balance, balanced, checked_weights, cross_entropy, dice
from ..structures import Classes, ImageList, Pyramid, PyramidSpec, Segmentation
from . import Head, Targets

__all__ = ["Dense", "DensePrediction"]

FINE = 4  # the stride from which logits are resized to the canvas in one step


class DensePrediction(NamedTuple):
    """What `Dense` predicts: logits [B, K, *canvas]."""

    logits: Tensor


class Dense(Head[DensePrediction]):
    """Cross-entropy and soft Dice on a softmax over exclusive classes.

    Args:
        spec: what the backbone or neck returns.
        classes: the class table.
        channels: the width that all levels are brought to.
        weights: of the losses `cross_entropy` and `dice`, both 1 by default.
        class_weights: K factors in the cross-entropy, none by default; or how the training set
            gives them: `inverse` or `median` frequency (see `losses.balanced`).

    Raises ValueError for classes that do not exclude each other, and for unknown losses.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        classes: Classes,
        *,
        channels: int = 128,
        weights: Mapping[str, float] | None = None,
        class_weights: Balance | Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if not classes.exclusive:
            raise ValueError("Dense gives each pixel one class: it needs `exclusive: true` classes")
        self.classes = classes.checked()
        self.rule: Balance | None = class_weights if isinstance(class_weights, str) else None
        self._hold(class_weights)
        self.weights = checked_weights(weights, {"cross_entropy": 1.0, "dice": 1.0})
        dims, plain = spec.spatial_dims, _is_image_sized(spec)
        self.levels = nn.ModuleList(
            nn.Identity() if plain else conv_block(dims, c, channels, 1) for c in spec.channels
        )
        self.steps = [] if plain else _steps(spec.strides[0])
        fuse = 0 if plain else 1 + len(self.steps)
        self.fuse = nn.ModuleList(conv_block(dims, channels, channels) for _ in range(fuse))
        self.classify = conv(dims, spec.channels[0] if plain else channels, classes.num_classes)

    def forward(
        self, pyramid: Pyramid, images: ImageList, targets: Targets | None = None
    ) -> DensePrediction:
        """Maps [B, C_l, *S_l], finest first, to logits on the canvas."""
        shape = pyramid[0].shape[2:]
        x = resize_maps(self.levels[0](pyramid[0]), shape)
        for level, maps in zip(self.levels[1:], pyramid[1:], strict=True):
            x = x + resize_maps(level(maps), shape)
        for index, fuse in enumerate(self.fuse):
            if index:
                factors = self.steps[index - 1]
                x = resize_maps(x, [s * f for s, f in zip(x.shape[2:], factors, strict=True)])
            x = fuse(x)
        return DensePrediction(resize_maps(self.classify(x), images.canvas))

    def losses(self, prediction: DensePrediction, targets: Targets) -> dict[str, Tensor]:
        """Cross-entropy and Dice; targets' `classes` lie on the canvas.

        Raises ValueError for a target without `classes`.
        """
        maps = [t.classes for t in targets if t.classes is not None]
        if len(maps) < len(targets):
            raise ValueError(f"{len(targets) - len(maps)} targets have no `classes` map")
        truth, ignored = torch.stack(maps), self.classes.ignore_index
        logits = prediction.logits
        return {
            "cross_entropy": cross_entropy(logits, truth, ignored, self._checked_weights()),
            "dice": dice(logits, truth, ignored),
        }

    def learn_frequencies(self, pixels: Sequence[int], among: Sequence[int]) -> None:
        """Compute the class weights, if the training set is to give them."""
        if self.rule is not None:
            assert self.class_weights is not None
            weights = torch.tensor(balanced(self.rule, pixels, among))
            self.class_weights.copy_(weights)

    def decode(self, prediction: DensePrediction, images: ImageList) -> list[Segmentation]:
        """Class probabilities [K, *S] of each image, in float32."""
        scores = prediction.logits.float().softmax(1)
        shapes = images.shapes.tolist()
        return [
            Segmentation(scores=one[(slice(None), *window(shape))])
            for one, shape in zip(scores, shapes, strict=True)
        ]

    def _hold(self, given: Balance | Sequence[float] | None) -> None:
        """Hold class weights as a buffer; those of the training set are saved with the weights."""
        count, values = self.classes.num_classes, None
        if given in get_args(Balance):
            values = torch.full((count,), torch.nan)
        elif isinstance(given, str):
            raise ValueError(f"class_weights: expected one of {get_args(Balance)}, got {given!r}")
        elif given is not None:
            values = torch.tensor([float(w) for w in given])
            if len(values) != count:
                raise ValueError(f"{count} classes but {len(values)} class_weights")
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", values, persistent=isinstance(given, str))
        self._weights_known = not isinstance(given, str)

    def _checked_weights(self) -> Tensor | None:
        """The class weights; looked at once, for a look costs a GPU its pace."""
        if not self._weights_known:
            assert self.class_weights is not None
            if self.class_weights.isnan().any():
                raise ValueError(
                    f"class_weights: {self.rule} needs the training set's frequencies: call "
                    "`learn_frequencies` first (training does)"
                )
            self._weights_known = True
        return self.class_weights


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
