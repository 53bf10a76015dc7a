"""The block of Hiera: attention within mask units or everywhere, pooling queries on its way.

B batch, U mask units, T tokens of a unit, C channels, H heads. Keys of the weights are timm's.
"""

from __future__ import annotations

from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class MaskUnitAttention(nn.Module):
    """Multi-head self-attention in which the first `pooled` parts of T become one.

    Raises ValueError when `out_dim` is not a multiple of `num_heads`.
    """

    def __init__(self, dim: int, out_dim: int, num_heads: int, pooled: int, local: bool) -> None:
        super().__init__()
        if out_dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {out_dim} channels")
        self.num_heads, self.pooled, self.local = num_heads, pooled, local
        self.qkv = nn.Linear(dim, 3 * out_dim)
        self.proj = nn.Linear(out_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, U, T, dim] -> [B, U, T / pooled, out_dim]."""
        qkv = self.qkv(x).unflatten(3, (3, self.num_heads, -1))  # [B, U, T, 3, H, C / H]
        query, key, value = qkv.unbind(3)
        query = pool(query, self.pooled)
        shape = query.shape[:3]
        # Those that see each other in one row: [B * U, T, …] or [B, U * T, …].
        first = 0 if self.local else 1
        rows = [t.flatten(first, first + 1).transpose(1, 2) for t in (query, key, value)]
        attended = scaled_dot_product_attention(rows[0], rows[1], rows[2])  # [rows, H, …]
        out: Tensor = self.proj(attended.transpose(1, 2).flatten(2).reshape(*shape, -1))
        return out


class MaskUnitBlock(nn.Module):
    """Attention and a two-layer network, each behind a layer norm and beside a skip.

    Args:
        dim: C before.
        out_dim: C after; the skip is projected where it differs.
        num_heads: H.
        pooled: how many neighbours become one token.
        local: look within mask units only.
        mlp_ratio: hidden channels of the network per channel.
        drop_path: how often a sample skips each half while training.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        num_heads: int,
        pooled: int = 1,
        local: bool = False,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.pooled = pooled
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.proj = nn.Identity() if dim == out_dim else nn.Linear(dim, out_dim)
        self.attn = MaskUnitAttention(dim, out_dim, num_heads, pooled, local)
        self.norm2 = nn.LayerNorm(out_dim, eps=1e-6)
        self.mlp = Mlp(out_dim, int(out_dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[B, U, T, dim] -> [B, U, T / pooled, out_dim]."""
        normed = self.norm1(x)
        changes = isinstance(self.proj, nn.Linear)
        skip = pool(self.proj(normed), self.pooled) if changes else x
        x = skip + self.drop_path(self.attn(normed))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


def pool(x: Tensor, count: int) -> Tensor:
    """The largest of `count` parts of T: [B, U, T, …] -> [B, U, T / count, …]."""
    return x if count == 1 else x.unflatten(2, (count, -1)).amax(2)
