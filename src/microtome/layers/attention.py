"""The pre-norm transformer block (Vaswani et al., 2017; Dosovitskiy et al., ICLR 2021).

Letters: B batch, T tokens, N those of them that lie on a grid, C channels, H heads. Keys of the
weights are timm's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from .token_positions import RelativePositions, rotated
from .windows import unwindowed, windowed


class Attention(nn.Module):
    """Multi-head self-attention, by PyTorch's fused kernels.

    Raises ValueError when `dim` is not a multiple of `num_heads`.
    """

    def __init__(self, dim: int, num_heads: int, relative: Sequence[int] | None = None) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {dim} channels")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative = None if relative is None else RelativePositions(dim // num_heads, relative)

    def forward(
        self,
        x: Tensor,
        attn_mask: Tensor | None = None,
        grid: Sequence[int] = (),
        angles: Tensor | None = None,
    ) -> Tensor:
        """[B, T, C] -> [B, T, C].

        Args:
            x: tokens.
            attn_mask: broadcasts to [B, H, T, T]: True where to look, or what is added.
            grid: the shape of the tokens' grid; only relative positions need it.
            angles: rotary positions [(B, 1,) N, C / (2 H)].
        """
        qkv = self.qkv(x).unflatten(2, (3, self.num_heads, -1))  # [B, T, 3, H, C / H]
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        if angles is not None:
            query, key = rotated(query, angles), rotated(key, angles)
        if self.relative is not None:
            attn_mask = _both(self.relative(query, grid), attn_mask)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=attn_mask)
        out: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention and a two-layer network, each behind a layer norm and beside a skip.

    Args:
        dim: C.
        num_heads: H.
        mlp_ratio: hidden channels of the network per channel.
        drop_path: how often a sample skips each half while training (Huang et al., 2016).
        window: tokens per axis of a grid that see each other; None when all do.
        relative: tokens per axis that tables of relative positions are for; None for no tables.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        window: tuple[int, ...] | None = None,
        relative: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads, relative)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Tensor,
        attn_mask: Tensor | None = None,
        grid: tuple[int, ...] = (),
        angles: Tensor | None = None,
    ) -> Tensor:
        """[B, T, C] -> [B, T, C]; with windows T is all of `grid`, and `attn_mask` is not read.

        The other arguments are those of `Attention`; windows take the angles of one window.
        """
        y = self.norm1(x)
        if self.window is None:
            y = self.attn(y, attn_mask, grid, angles)
        else:
            y = self.attn(windowed(y.unflatten(1, grid), self.window), None, self.window, angles)
            y = unwindowed(y, self.window, grid).flatten(1, -2)
        x = x + self.drop_path(y)
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


def _both(added: Tensor, attn_mask: Tensor | None) -> Tensor:
    """A mask of what is added to attention, and what else is masked or added."""
    if attn_mask is None:
        return added
    if attn_mask.dtype == torch.bool:
        return added.masked_fill(~attn_mask, -torch.inf)
    return added + attn_mask
