"""Hiera (Ryali et al., ICML 2023), N-D. Names of the weights are timm's and the authors'."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import isqrt, prod
from typing import Literal

import torch
from torch import Tensor, nn

from ..geometry import per_axis
from ..layers import (
    MaskUnitBlock,
    conv,
    draw_weights,
    drop_path_rates,
    resize_cubic,
    rolled,
    units_of,
    unrolled,
)
from ..structures import Pyramid, PyramidSpec
from ..weights import LoadReport, State, with_new_axes
from .family import Family, Weights
from .tokens import check_divides, kept, spread, take

__all__ = ["Hiera"]


class Hiera(Family):
    """A hierarchical vision transformer without convolutions, four levels at strides 4 to 32.

    A mask unit is what becomes one token of the last level. The defaults are the base size.

    Args:
        depths: blocks per level.
        embed_dim: channels of the first level; doubled from level to level.
        num_heads: heads of the first level; doubled likewise.
        in_channels: C of the images.
        strides: of the patches and from level to level, each one number or one per axis;
            `geometry.proposed_strides` derives them from the spacing.
        local: how many levels, finest first, look within mask units only; others look everywhere.
        positions: `absolute`, learnt for each token, or `separable`, learnt for each axis and
            added; both are resampled to the image's grid.
        grid: the tokens per axis that positions are for, one number or one per axis.
        mlp_ratio: hidden channels of the networks per channel.
        drop_path: how often a sample skips a block while training; grows from 0 to this with depth.
        spatial_dims: D.
        weights: published weights to begin from.

    Raises ValueError unless depths and strides are equally many, and for weights with positions
    of the other kind.
    """

    def __init__(
        self,
        depths: Sequence[int] = (2, 3, 16, 3),
        embed_dim: int = 96,
        num_heads: int = 1,
        in_channels: int = 3,
        strides: Sequence[int | Sequence[int]] = (4, 2, 2, 2),
        local: int = 2,
        positions: Literal["absolute", "separable"] = "absolute",
        grid: int | Sequence[int] = 56,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        spatial_dims: int = 2,
        weights: Weights | None = None,
    ) -> None:
        super().__init__()
        if len(depths) != len(strides):
            raise ValueError(
                f"{len(depths)} depths and {len(strides)} strides: expected one of each per level"
            )
        patch, *self.steps = (per_axis(s, spatial_dims) for s in strides)
        widths = [embed_dim * 2**level for level in range(len(depths))]
        self.in_channels, self.spec = in_channels, PyramidSpec.stepped(widths, [patch, *self.steps])
        self.mask_unit = self.spec.multiple
        self.ends = [end - 1 for end in accumulate(depths)]
        self.patch_embed = _Patches(in_channels, embed_dim, patch)
        places = per_axis(grid, spatial_dims)
        shapes = [places] if positions == "absolute" else _axes(places)
        self.pos_embed = nn.ParameterList(torch.zeros(1, embed_dim, *shape) for shape in shapes)
        rates = drop_path_rates(drop_path, depths)

        def block(level: int, i: int) -> MaskUnitBlock:
            before = level - (i == 0 and level > 0)  # the first block still looks as those before
            return MaskUnitBlock(
                widths[before],
                widths[level],
                num_heads * 2**level,
                pooled=prod(self.steps[before]) if before < level else 1,
                local=before < local,
                mlp_ratio=mlp_ratio,
                drop_path=rates[level][i],
            )

        self.blocks = nn.ModuleList(
            block(level, i) for level, depth in enumerate(depths) for i in range(depth)
        )
        self.reset_parameters()
        self.begin(weights)

    def reset_parameters(self) -> None:
        """Truncated normal of deviation 0.02 for weights and positions, zero for biases."""
        for positions in self.pos_embed:
            nn.init.trunc_normal_(positions, std=0.02)
        draw_weights(self, nn.Linear)

    def translated(self, state: State) -> State:
        """Sequences of positions [1, N, C] become square grids [1, C, *grid]."""
        moved = dict(state)
        if "pos_embed" in moved:
            sequence = moved.pop("pos_embed")
            side = isqrt(sequence.shape[1])
            moved["pos_embed.0"] = sequence.mT.unflatten(2, (side, -1))
        if "pos_embed.1" in moved:
            moved = with_new_axes(moved, r"(pos_embed\.)(\d+)", self.spec.spatial_dims)
        return moved

    def left_out(self, state: State, report: LoadReport) -> list[str]:
        """Positions of the other kind, which would be resampled into ones without a meaning."""
        found = sum(key.startswith("pos_embed.") for key in state)
        if found in (0, len(self.pos_embed)):
            return []
        return [f"pos_embed: set positions='{'absolute' if found == 1 else 'separable'}'"]

    def forward(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Pyramid:
        """Compute the maps, finest first.

        Dropped mask units are zeros before the patches are cut, since these overlap, and are not
        computed after.

        Raises ValueError when mask units do not divide the image, and when `keep` does not keep
        equally many of each image.
        """
        check_divides(self.spec.multiple, image)
        x = self.patch_embed(image if keep is None else image * self._pixels(keep))
        for positions in self.pos_embed:
            x = x + resize_cubic(positions, _or_one(positions, x.shape[2:]))
        units = units_of(x.shape[2:], self.steps)
        x = unrolled(x, self.steps)
        x = x if keep is None else take(x.flatten(2), kept(keep)).unflatten(2, x.shape[2:])
        maps: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.ends:
                whole = x if keep is None else spread(x.flatten(2), keep).unflatten(2, x.shape[2:])
                maps.append(rolled(whole, self.steps[len(maps) :], units))
        return tuple(maps)

    def _pixels(self, keep: Tensor) -> Tensor:
        """[B, *units] -> [B, 1, *S]."""
        shown = keep[:, None]
        for axis, size in enumerate(self.spec.multiple, start=2):
            shown = shown.repeat_interleave(size, axis)
        return shown


class _Patches(nn.Module):
    """A convolution that overlaps into the neighbouring patches."""

    def __init__(self, in_channels: int, embed_dim: int, patch: Sequence[int]) -> None:
        super().__init__()
        size = [2 * p - 1 for p in patch]
        self.proj = conv(len(patch), in_channels, embed_dim, size, stride=patch)

    def forward(self, image: Tensor) -> Tensor:
        """[B, C, *S] -> [B, E, *grid]."""
        out: Tensor = self.proj(image)
        return out


def _axes(places: Sequence[int]) -> list[list[int]]:
    """Shapes of positions that are learnt for each axis: in the plane [Y, 1] and [1, X]."""
    count = len(places)
    return [[n if other == axis else 1 for other in range(count)] for axis, n in enumerate(places)]


def _or_one(positions: Tensor, grid: Sequence[int]) -> list[int]:
    """The grid, but for axes along which positions are all the same."""
    return [1 if own == 1 else n for own, n in zip(positions.shape[2:], grid, strict=True)]
