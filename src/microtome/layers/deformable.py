"""Multi-scale deformable attention as a layer (Zhu et al., Deformable DETR, ICLR 2021), N-D.

Letters: B batch, Q queries, N positions of all levels, E channels, L levels, H heads, P points,
D axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..ops.deform_attn import deform_attn_around

__all__ = ["DeformableAttention", "flip_offset_rows"]


class DeformableAttention(nn.Module):
    """Each query attends to a few learnt places around its reference, on all levels.

    Args:
        dim: E of queries and values.
        num_levels: L.
        spatial_dims: D.
        num_heads: H.
        num_points: P per head and level.

    Raises ValueError when `dim` is not a multiple of `num_heads`.
    """

    def __init__(
        self, dim: int, num_levels: int, spatial_dims: int, num_heads: int = 8, num_points: int = 4
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {dim} channels")
        self.samples = (num_heads, num_levels, num_points)
        self.spatial_dims = spatial_dims
        count = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(dim, count * spatial_dims)
        self.attention_weights = nn.Linear(dim, count)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Every query begins with the same star of samples, all of the same weight."""
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.sampling_offsets.bias.copy_(_star(*self.samples, self.spatial_dims).flatten())
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        value: Tensor,
        shapes: Sequence[Sequence[int]],
        valid_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            query: [B, Q, E].
            reference: [B, Q, L, D], or [B, Q, D] for all levels, array order, 0…1; B may be 1. Or
                boxes [B, Q, 2D] for all levels, centres and sizes: then offsets are in half boxes.
            value: [B, N, E], the levels one after the other.
            shapes: the spatial shape of each level.
            valid_mask: [B, N] bool; the others are as empty as what lies beyond a level's border.

        Returns:
            [B, Q, E].
        """
        batch, queries = query.shape[:2]
        around = reference[:, :, None] if reference.ndim == 3 else reference  # [B, Q, L, D]
        around = around.to(torch.promote_types(around.dtype, torch.float32))
        around = around.expand(-1, -1, len(shapes), -1)
        offsets = self._offsets(query).view(batch, queries, *self.samples, self.spatial_dims)
        if around.shape[-1] > self.spatial_dims:
            around, sizes = around.chunk(2, -1)
            offsets = offsets * self._pixels_of_half(sizes, shapes)
        logits = self.attention_weights(query).view(batch, queries, *self.samples)
        values = self.value_proj(value)
        if valid_mask is not None:  # after the projection, whose bias is not nothing
            values = values.where(valid_mask[..., None], 0.0)
        values = values.unflatten(2, (self.samples[0], -1))  # [B, N, H, C]
        attended = deform_attn_around(values, shapes, around, offsets.to(around.dtype), logits)
        out: Tensor = self.output_proj(attended.flatten(2))
        return out

    def _pixels_of_half(self, sizes: Tensor, shapes: Sequence[Sequence[int]]) -> Tensor:
        """Half of boxes [B, Q, L, D] in pixels of each level, over P: [B, Q, 1, L, 1, D]."""
        pixels = sizes * torch.tensor(shapes, device=sizes.device) / (2 * self.samples[2])
        return pixels[:, :, None, :, None]

    def _offsets(self, query: Tensor) -> Tensor:
        """In pixels, float32 under autocast too: bfloat16 has steps of a quarter pixel at 32."""
        layer, kind = self.sampling_offsets, query.device.type
        if kind == "meta":  # knows no autocast; only shapes are asked for
            return layer(query).float()  # type: ignore[no-any-return]
        with torch.autocast(kind, enabled=False):
            offsets: Tensor = F.linear(query.float(), layer.weight.float(), layer.bias.float())
        return offsets


def flip_offset_rows(rows: Tensor, spatial_dims: int = 2) -> Tensor:
    """Turn a weight or bias of `sampling_offsets` from x, y, z order into array order, or back.

    Foreign weights (Deformable DETR, Mask2Former) hold rows [H * L * P * D, ...] with x first.
    """
    flipped: Tensor = rows.unflatten(0, (-1, spatial_dims)).flip(1).flatten(0, 1)
    return flipped


def _star(heads: int, levels: int, points: int, spatial_dims: int) -> Tensor:
    """[H, L, P, D] offsets: a ray per head, point p at p + 1 pixels (largest axis).

    In the plane the rays are those of the original, a full turn from x to y; each further pair of
    axes turns once more often.
    """
    angle = torch.arange(heads) * (2 * pi / heads)
    turns = [angle * (axis // 2 + 1) - axis % 2 * pi / 2 for axis in reversed(range(spatial_dims))]
    rays = torch.stack([t.cos() for t in turns], 1)  # (z,) y, x
    rays = rays / rays.abs().amax(1, keepdim=True).clamp(min=1e-3)
    steps = torch.arange(1, points + 1)[:, None]
    return (rays[:, None, None] * steps).expand(heads, levels, points, spatial_dims)
