"""Convolutions between enlargements by two, from the coarsest map to the image (as in TransUNet).

Any stride will do: 14 becomes 7, 3.5, 1.75 and 1. Finer levels join where the map has become as
fine as they are (skips), so a plain vision transformer, a CNN adapter and a pyramid all fit.

B batch, K classes, *S spatial shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from ..layers import conv, conv_block, resize_maps
from ..structures import Classes, Pyramid, PyramidSpec
from .semantic import LossArguments, SemanticHead

__all__ = ["Upsampling"]

Stride = tuple[float, ...]


class Upsampling(SemanticHead):
    """A convolution, then steps of enlarging, joining and two convolutions, up to stride 1.

    Args:
        spec: what the backbone or neck returns.
        classes: the class table.
        channels: after the first convolution and after each step; the last is used again where
            there are more steps.
        losses: `weights`, `class_weights`, `num_classes` and `options`, as in `SemanticHead`.

    Raises ValueError as `SemanticHead` does.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        classes: Classes,
        *,
        channels: Sequence[int] = (512, 256, 128, 64, 16),
        **losses: Unpack[LossArguments],
    ) -> None:
        super().__init__(classes, **losses)
        dims = spec.spatial_dims
        self.first = conv_block(dims, spec.channels[-1], channels[0])
        self.steps = _steps(spec.strides[-1])
        self.joining = _joining(spec.strides[:-1], self.steps)
        widths = [channels[min(i, len(channels) - 1)] for i in range(len(self.steps) + 1)]
        self.blocks = nn.ModuleList()
        for step, joining in enumerate(self.joining):
            wide = widths[step] + sum(spec.channels[level] for level in joining)
            self.blocks.append(
                nn.Sequential(
                    conv_block(dims, wide, widths[step + 1]),
                    conv_block(dims, widths[step + 1], widths[step + 1]),
                )
            )
        self.classify = conv(dims, widths[-1], self.outputs, 3)

    def logits(self, pyramid: Pyramid, canvas: Sequence[int]) -> Tensor:
        """Enlarge, join, convolve; the last step ends on the canvas."""
        x = self.first(pyramid[-1])
        for stride, joining, block in zip(self.steps, self.joining, self.blocks, strict=True):
            shape = [round(n / s) for n, s in zip(canvas, stride, strict=True)]
            parts = [x, *(pyramid[level] for level in joining)]
            x = block(torch.cat([resize_maps(part, shape) for part in parts], 1))
        out: Tensor = self.classify(x)
        return out


def _steps(stride: Stride) -> list[Stride]:
    """Strides after each step: halved, never below one pixel; one step at least."""
    steps: list[Stride] = []
    while not steps or max(stride) > 1:
        stride = tuple(max(s / 2, 1.0) for s in stride)
        steps.append(stride)
    return steps


def _joining(strides: Sequence[Stride], steps: Sequence[Stride]) -> list[list[int]]:
    """The levels that join at each step: the first that is as fine as they are."""
    found: list[list[int]] = [[] for _ in steps]
    for level, stride in enumerate(strides):
        as_fine = [all(s <= t for s, t in zip(step, stride, strict=True)) for step in steps]
        found[as_fine.index(True)].append(level)
    return found
