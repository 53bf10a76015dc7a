"""What layers of queries are made of.

B batch, Q queries, N of what they look at, H heads, E channels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Attention", "mlp"]


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017) with keys and values apart."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q, self.k, self.v = (nn.Linear(dim, dim) for _ in range(3))
        self.out = nn.Linear(dim, dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None) -> Tensor:
        """Attend: [B, Q, E], [B, N, E], [B, N, E] and, True where allowed, [B, Q, N] bool."""
        mask = None if seen is None else seen[:, None]
        heads = self._heads(query, key, value)
        return self._joined(F.scaled_dot_product_attention(*heads, mask))

    def _heads(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Each [B, H, its length, E / H]."""
        parts = ((self.q, query), (self.k, key), (self.v, value))
        q, k, v = (p(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2) for p, x in parts)
        return q, k, v

    def _joined(self, heads: Tensor) -> Tensor:
        out: Tensor = self.out(heads.transpose(1, 2).flatten(2))
        return out


def mlp(first: int, *widths: int) -> nn.Sequential:
    """Linear layers from `first` channels to each of `widths`, with ReLU between them."""
    parts: list[nn.Module] = []
    for before, width in zip((first, *widths), widths, strict=False):
        parts += [nn.Linear(before, width), nn.ReLU()]
    return nn.Sequential(*parts[:-1])
