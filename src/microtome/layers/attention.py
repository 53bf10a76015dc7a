"""The pre-norm transformer block (Vaswani et al., 2017; Dosovitskiy et al., ICLR 2021).

Letters: B batch, T tokens, C channels, H heads. Keys of the weights are timm's.
"""

from __future__ import annotations

from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Attention(nn.Module):
    """Multi-head self-attention, by PyTorch's fused kernels.

    Raises ValueError when `dim` is not a multiple of `num_heads`.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {dim} channels")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """[B, T, C] -> [B, T, C]; `attn_mask` broadcasts to [B, H, T, T]."""
        qkv = self.qkv(x).unflatten(2, (3, self.num_heads, -1))  # [B, T, 3, H, C / H]
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
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
    """

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float = 4.0, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """[B, T, C] -> [B, T, C]; `attn_mask` broadcasts to [B, H, T, T]."""
        x = x + self.drop_path(self.attn(self.norm1(x), attn_mask))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out
