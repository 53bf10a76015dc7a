"""Anchors: boxes of a few sizes and proportions around every cell (Ren et al., NeurIPS 2015).

L levels, A anchors of a cell, D axes, N cells times anchors of all levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import sqrt

import torch
from torch import Tensor

from ...geometry import Shape, per_axis
from .alignment import Alignment

CELLS = 8  # the size of an anchor where none is given

Strides = Sequence[tuple[float, ...]]
Sizes = Sequence[Sequence[float | Sequence[float]]]


class Anchors:
    """The anchors of a pyramid.

    Args:
        strides: of the L levels, per axis.
        sizes: for each level, in pixels, each one number or one per axis; when not given, eight
            cells of the level, so that anchors are cubes where cells are.
        ratios: height over width, at equal area.
        z_ratios: what the size along z is multiplied by; says nothing where there is no z.
        alignment: where they lie.

    Attributes:
        shapes: for each level the sides [A, D].

    Raises ValueError unless there are sizes for each level, equally many, and all are above 0.
    """

    def __init__(
        self,
        strides: Strides,
        sizes: Sizes | None = None,
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        z_ratios: Sequence[float] = (1.0,),
        alignment: Alignment = "areas",
    ) -> None:
        self.strides, self.alignment = strides, alignment
        if sizes is None:
            sizes = [[[CELLS * s for s in stride]] for stride in strides]
        if len(sizes) != len(strides) or len({len(level) for level in sizes}) != 1:
            raise ValueError(
                f"anchor sizes: expected equally many for each of {len(strides)} levels, got "
                f"{[len(level) for level in sizes]}"
            )
        dims = len(strides[0])
        self.shapes = [_shapes(level, ratios, z_ratios, dims) for level in sizes]
        if not self.shapes[0] or min(s for level in self.shapes for a in level for s in a) <= 0:
            raise ValueError("anchor sizes and ratios: expected at least one of each, above 0")

    def __call__(self, grids: Sequence[Shape], canvas: Shape, device: torch.device) -> list[Tensor]:
        """For each level [cells x A, 2D], the cells of `grids` in order, their anchors in turn."""
        return [
            self._level(grid, canvas, stride, shapes).to(device)
            for grid, stride, shapes in zip(grids, self.strides, self.shapes, strict=True)
        ]

    def _level(
        self, grid: Shape, canvas: Shape, stride: Sequence[float], shapes: list[tuple[float, ...]]
    ) -> Tensor:
        half = torch.tensor(shapes) / 2
        if self.alignment == "torchvision":
            half = half.round()
            axes = [torch.arange(n) * float(c // n) for n, c in zip(grid, canvas, strict=True)]
        else:
            axes = [(torch.arange(n) + 0.5) * s for n, s in zip(grid, stride, strict=True)]
        centres = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)[:, None]
        return torch.cat([centres - half, centres + half], 2).flatten(0, 1)


def _shapes(
    sizes: Sequence[float | Sequence[float]],
    ratios: Sequence[float],
    z_ratios: Sequence[float],
    dims: int,
) -> list[tuple[float, ...]]:
    """The last two axes share a ratio; axes before them have one each."""
    factors = [
        (*before, sqrt(ratio), 1 / sqrt(ratio))
        for ratio, *before in product(ratios, *[z_ratios] * (dims - 2))
    ]
    return [
        tuple(s * f for s, f in zip(per_axis(size, dims), factor, strict=True))
        for factor in factors
        for size in sizes
    ]
