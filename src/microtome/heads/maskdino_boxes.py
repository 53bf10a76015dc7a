"""Boxes that queries look around and that layers correct, `cz cy cx d h w`.

They are centre and sizes in array order, as parts of the image (0…1) and not of the canvas that it
is padded to, and float32 under autocast: in bfloat16 they would be off by pixels in a large image.

B batch, Q queries, E channels, D axes, *S the shape of the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, pi

import torch
from torch import Tensor, nn

from ..layers import centres
from ..structures import ImageList
from .query_layers import mlp

__all__ = ["BoxCorrection", "BoxEmbedding", "box_logits", "ellipses", "image_share", "parabolas"]

TEMPERATURE = 10_000.0
SLOPE = 2.0  # of the logit of a mask where it leaves the ellipse in its box
MARGIN = 0.01  # of the image, by which half a box is larger; no box is a point
_EPSILON = 1e-5  # so that the logit of 0 and of 1 is finite


def box_logits(boxes: Tensor) -> Tensor:
    """The inverse of the sigmoid, finite for 0 and 1 too; float32."""
    boxes = boxes.float().clamp(0, 1)
    return torch.log(boxes.clamp(min=_EPSILON) / (1 - boxes).clamp(min=_EPSILON))


def image_share(images: ImageList) -> Tensor:
    """[B, D] the part of the canvas that each image takes."""
    return images.shapes / torch.tensor(images.canvas, device=images.shapes.device)


def ellipses(boxes: Tensor) -> Tensor:
    """[..., 2D] to [..., 1 + 2D]: embeddings whose masks of `parabolas` are ellipses in boxes.

    The logit at p is SLOPE (1 - sum of ((p - centre) / half size)^2).
    """
    centre, sizes = boxes.float().chunk(2, -1)
    sharp = SLOPE / (sizes / 2 + MARGIN) ** 2
    top = SLOPE - (sharp * centre**2).sum(-1, keepdim=True)
    return torch.cat([top, 2 * sharp * centre, -sharp], -1)


def parabolas(shape: Sequence[int], images: ImageList) -> Tensor:
    """[B, 1 + 2D, *S]: one, the places p of the cells as parts of the image, and their squares."""
    at = centres(shape, images.shapes.device) / image_share(images)[:, None]  # [B, N, D]
    powers = torch.cat([torch.ones_like(at[..., :1]), at, at**2], -1)
    maps: Tensor = powers.transpose(1, 2).unflatten(2, tuple(shape))
    return maps


class BoxCorrection(nn.Module):
    """How far each logit of a box is off, as its query says; by nothing before the first step."""

    def __init__(self, dim: int, spatial_dims: int) -> None:
        super().__init__()
        self.layers = mlp(dim, dim, dim, 2 * spatial_dims)
        for last in self.layers[-1].parameters():
            nn.init.zeros_(last)

    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        """Queries [B, Q, E] and the logits of their boxes [B, Q, 2D] to better logits."""
        if x.device.type == "meta":  # knows no autocast; only shapes are asked for
            return logits + self.layers(x.float())  # type: ignore[no-any-return]
        with torch.autocast(x.device.type, enabled=False):
            return logits + self.layers(x.float())  # type: ignore[no-any-return]


class BoxEmbedding(nn.Module):
    """Sines and cosines of each coordinate (Liu et al., DAB-DETR, ICLR 2022), then two layers."""

    def __init__(self, dim: int, spatial_dims: int) -> None:
        super().__init__()
        self.waves = 2 * ceil(dim / 4)  # of each coordinate
        self.layers = mlp(2 * spatial_dims * self.waves, dim, dim)
        for weights in self.layers.parameters():
            if weights.ndim > 1:
                nn.init.xavier_uniform_(weights)

    def forward(self, boxes: Tensor, dtype: torch.dtype) -> Tensor:
        """Boxes [B, Q, 2D] to [B, Q, E] of a dtype."""
        powers = torch.arange(0, self.waves, 2, device=boxes.device) / self.waves
        angles = 2 * pi * boxes[..., None] / TEMPERATURE**powers
        waves = torch.stack([angles.sin(), angles.cos()], -1).flatten(-3)
        embedded: Tensor = self.layers(waves.to(dtype))
        return embedded
