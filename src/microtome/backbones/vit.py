"""A plain vision transformer for any number of axes (Dosovitskiy et al., ICLR 2021).

With windows it is ViTDet's (Li et al., ECCV 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..geometry import per_axis
from ..layers import (
    Block,
    ConvResidual,
    draw_weights,
    drop_path_rates,
    patches,
    resize_cubic,
    rotary_positions,
    sincos_positions,
)
from ..structures import PyramidSpec
from ..weights import LoadReport, State
from . import TokenBackbone, Tokens
from .family import Family, Weights
from .tokens import check_divides, even_cuts, kept, on_grid, take
from .vit_weights import left_out, translated

__all__ = ["ViT"]

Positions = Literal["sincos", "absolute", "rotary", "none"]


class ViT(Family, TokenBackbone):
    """Pre-norm blocks over patches, for any image size.

    Its one map has the stride of its patches. Block weights have timm's names.

    Args:
        in_channels: C of the images.
        patch: pixels of a patch, one number or one per axis.
        embed_dim: channels of a token.
        depth: number of blocks.
        num_heads: heads of their attention.
        mlp_ratio: hidden channels of their networks per channel.
        num_registers: learnt tokens beside the patches (Darcet et al., ICLR 2024); published class
            tokens become registers.
        positions: `sincos` (fixed), `absolute` (learnt, resampled to the image's grid), `rotary`
            (in every block), or `none`.
        relative: whether blocks also learn relative positions.
        grid: the tokens per axis that learnt positions are for, one number or one per axis.
        window: tokens per axis that see each other in most blocks; None when all do.
        groups: into how many groups of blocks depth is split; in the last block of each, all
            tokens see each other in spite of windows.
        residual: after which blocks a convolutional bottleneck follows: `none`, `all`, or the
            `last` of each group.
        drop_path: how often a sample skips a block while training; grows from 0 to this with depth.
        spatial_dims: D.
        weights: published weights to begin from: timm's, ViTDet's or SAM's.

    Raises ValueError for registers together with windows, relative positions or residual
    bottlenecks, which need a grid and nothing else, without groups, and for weights whose
    positions, tokens or parts of blocks have no place here.
    """

    def __init__(
        self,
        in_channels: int = 3,
        patch: int | Sequence[int] = 16,
        embed_dim: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        mlp_ratio: float = 4.0,
        num_registers: int = 0,
        positions: Positions = "sincos",
        relative: bool = False,
        grid: int | Sequence[int] = 14,
        window: int | Sequence[int] | None = None,
        groups: int = 4,
        residual: Literal["none", "all", "last"] = "none",
        drop_path: float = 0.0,
        spatial_dims: int = 2,
        weights: Weights | None = None,
    ) -> None:
        super().__init__()
        size = per_axis(patch, spatial_dims)
        self.in_channels, self.embed_dim, self.depth = in_channels, embed_dim, depth
        self.num_heads = num_heads
        self.on_grid_only = window is not None or relative or residual != "none"
        if self.on_grid_only and num_registers:
            raise ValueError(
                f"{num_registers} registers lie on no grid: windows, relative positions and "
                "residual bottlenecks work without registers"
            )
        self.mask_unit = None if self.on_grid_only else size
        self.spec = PyramidSpec((embed_dim,), (tuple(float(s) for s in size),), size)
        self.patch_embed = patches(size, in_channels, embed_dim)
        self.registers = nn.Parameter(torch.zeros(1, num_registers, embed_dim))
        self.positions, self.grid = positions, per_axis(grid, spatial_dims)
        if positions == "absolute":
            self.pos_embed = nn.Parameter(torch.zeros(1, embed_dim, *self.grid))
        last = [cut - 1 for cut in even_cuts(depth, min(groups, depth))[1:]]
        self.windows = [
            None if window is None or i in last else per_axis(window, spatial_dims)
            for i in range(depth)
        ]
        (rates,) = drop_path_rates(drop_path, (depth,))
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, mlp_ratio, r, w, (w or self.grid) if relative else None)
            for r, w in zip(rates, self.windows, strict=True)
        )
        followed = {"none": [], "all": [*range(depth)], "last": last}[residual]
        self.residuals = nn.ModuleDict(
            {str(i): ConvResidual(spatial_dims, embed_dim) for i in followed}
        )
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.reset_parameters()
        self.begin(weights)

    def reset_parameters(self) -> None:
        """Truncated normal of deviation 0.02 for weights and positions, zero for biases."""
        nn.init.trunc_normal_(self.registers, std=0.02)
        if self.positions == "absolute":
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        draw_weights(self, nn.Linear)

    def translated(self, state: State) -> State:
        """Bring positions onto a grid, and class tokens among the registers."""
        return translated(state, self.grid)

    def left_out(self, state: State, report: LoadReport) -> list[str]:
        """Name positions, tokens and parts of blocks that are in the file and not in here."""
        return left_out(state, report, self.depth, self.on_grid_only)

    def embed(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Tokens:
        """Cut into tokens [B, registers + N, C]; `keep` must keep equally many of each image.

        Raises ValueError when it does not, and when patches do not divide the image;
        NotImplementedError when `keep` is given and blocks need the whole grid.
        """
        check_divides(self.spec.multiple, image)
        if keep is not None and self.on_grid_only:
            raise NotImplementedError("windows and relative positions need all tokens of the grid")
        x: Tensor = self.patch_embed(image)
        grid = tuple(x.shape[2:])
        x = self._placed(x)
        angles = self._angles(grid, x.device) if self.positions == "rotary" else None
        if keep is not None:
            index = kept(keep)
            x = take(x, index)
            angles = None if angles is None else angles[index][:, None]  # [B, 1, n, F]
        x = torch.cat([self.registers.expand(len(x), -1, -1).to(x.dtype), x], 1)
        return Tokens(x, grid, self.registers.shape[1], keep, angles)

    def run(self, tokens: Tokens, start: int, stop: int, attn_mask: Tensor | None = None) -> Tokens:
        """Apply blocks `start` to `stop`; `attn_mask` broadcasts to [B, H, T, T].

        Raises ValueError when a mask is given to blocks with windows.
        """
        if attn_mask is not None and any(self.windows[start:stop]):
            raise ValueError("blocks with windows take no attention mask")
        x = tokens.x
        for index in range(start, stop):
            window, angles = self.windows[index], tokens.positions
            if window is not None and angles is not None:
                angles = self._angles(window, x.device)  # distances are all that counts
            x = self.blocks[index](x, attn_mask, tokens.grid, angles)
            if str(index) in self.residuals:
                x = self.residuals[str(index)](x.mT.unflatten(2, tokens.grid)).flatten(2).mT
        return tokens._replace(x=x)

    def normed(self, tokens: Tokens) -> Tensor:
        """Apply the final norm to all tokens."""
        x: Tensor = self.norm(tokens.x)
        return x

    def last(self, blocks: int) -> list[nn.Module]:
        """The last blocks, the bottlenecks after them, and the final norm."""
        begin = self.depth - blocks
        after = [part for i, part in self.residuals.items() if int(i) >= begin]
        return [*self.blocks[begin:], *after, self.norm]

    def to_map(self, tokens: Tokens) -> Tensor:
        """Final norm, registers off: [B, C, *grid], zeros where tokens were dropped."""
        return on_grid(tokens._replace(x=self.normed(tokens)))

    def _placed(self, x: Tensor) -> Tensor:
        """Patches [B, C, *grid] as tokens [B, N, C], with the positions that are added."""
        if self.positions == "absolute":
            x = x + resize_cubic(self.pos_embed, x.shape[2:])
        tokens: Tensor = x.flatten(2).mT
        if self.positions == "sincos":
            where = sincos_positions(x.shape[2:], self.embed_dim, x.device)
            tokens = tokens + where.to(x.dtype)
        return tokens

    def _angles(self, grid: Sequence[int], device: torch.device) -> Tensor:
        return rotary_positions(grid, self.embed_dim // self.num_heads, device)
