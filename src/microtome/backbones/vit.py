"""A plain vision transformer for any number of axes (Dosovitskiy et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..geometry import per_axis
from ..layers import Block, patches, sincos_positions
from ..structures import PyramidSpec
from . import TokenBackbone, Tokens
from .tokens import kept, on_grid, take

__all__ = ["ViT"]


class ViT(TokenBackbone):
    """Pre-norm blocks over patches, with fixed positions made for the grid at hand: any image size.

    Its one map has the stride of its patches. Block weights have timm's names.

    Args:
        in_channels: C of the images.
        patch: pixels of a patch, one number or one per axis.
        embed_dim: channels of a token.
        depth: number of blocks.
        num_heads: heads of their attention.
        mlp_ratio: hidden channels of their networks per channel.
        num_registers: learnt tokens beside the patches (Darcet et al., ICLR 2024).
        drop_path: how often a sample skips a block while training; grows from 0 to this with depth.
        spatial_dims: D.
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
        drop_path: float = 0.0,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        size = per_axis(patch, spatial_dims)
        self.in_channels, self.embed_dim, self.depth, self.mask_unit = (
            in_channels,
            embed_dim,
            depth,
            size,
        )
        self.spec = PyramidSpec((embed_dim,), (tuple(float(s) for s in size),), size)
        self.patch_embed = patches(size, in_channels, embed_dim)
        self.registers = nn.Parameter(torch.zeros(1, num_registers, embed_dim))
        rates = [drop_path * i / max(depth - 1, 1) for i in range(depth)]
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads, mlp_ratio, r) for r in rates)
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal of deviation 0.02 for weights, zero for biases."""
        nn.init.trunc_normal_(self.registers, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def embed(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Tokens:
        """Cut into tokens [B, registers + N, C]; `keep` must keep equally many of each image.

        Raises ValueError when it does not, and when patches do not divide the image.
        """
        if any(s % p for s, p in zip(image.shape[2:], self.spec.multiple, strict=True)):
            raise ValueError(
                f"image of {list(image.shape[2:])} pixels, expected a multiple of "
                f"{list(self.spec.multiple)}: pad it, as ImageList.pad does"
            )
        x: Tensor = self.patch_embed(image)
        grid = tuple(x.shape[2:])
        positions = sincos_positions(grid, self.embed_dim, x.device)
        x = x.flatten(2).mT + positions.to(x.dtype)
        if keep is not None:
            x = take(x, kept(keep))
        x = torch.cat([self.registers.expand(len(x), -1, -1).to(x.dtype), x], 1)
        return Tokens(x, grid, self.registers.shape[1], keep)

    def run(self, tokens: Tokens, start: int, stop: int, attn_mask: Tensor | None = None) -> Tokens:
        """Apply blocks `start` to `stop`; `attn_mask` broadcasts to [B, H, T, T]."""
        x = tokens.x
        for index in range(start, stop):
            x = self.blocks[index](x, attn_mask)
        return tokens._replace(x=x)

    def to_map(self, tokens: Tokens) -> Tensor:
        """Final norm, registers off: [B, C, *grid], zeros where tokens were dropped."""
        return on_grid(tokens._replace(x=self.norm(tokens.x)))
