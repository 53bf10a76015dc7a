"""Transformer decoder with masked attention (Cheng et al., Mask2Former, CVPR 2022).

A query looks only where the layer before put its mask, at one level after the other.

B batch, Q queries, K classes, E channels, N cells of a level, L predictions, *S spatial shape.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..layers import resize_maps
from ..layers.map_positions import map_extents, sine_positions, valid_cells
from ..structures import ImageList
from .mask_prediction import MaskPrediction
from .pixel_decoder import DecodedPixels
from .query_layers import Attention, mlp

__all__ = ["MaskedDecoder"]

WIDER = 8  # the feed-forward part than the queries
PAIRS_KEPT = 2**24  # pairs of queries and cells of a layer that attention keeps, 64 MB
PAIRS_AT_ONCE = 2**22  # pairs that are held at a time where there are more


class Level(NamedTuple):
    """What queries look at: values and keys [B, N, E], coarse features [B, E, N], valid [B, N]."""

    values: Tensor
    keys: Tensor
    features: Tensor
    valid_mask: Tensor


class MaskedAttention(Attention):
    """Attention of queries to the cells of a level that lie in their masks."""

    def forward(self, query: Tensor, masks: Tensor, level: Level) -> Tensor:  # type: ignore[override]
        """Queries [B, Q, E] and the embeddings [B, Q, E] of their masks.

        Where there are very many pairs of queries and cells, a part of the queries attends at a
        time, and the way back computes it again: attention keeps a number for each pair otherwise.
        """
        q, k, v = self._heads(query, level.keys, level.values)
        per_query = len(q) * k.shape[2]
        if q.shape[2] * per_query <= PAIRS_KEPT:
            return self._joined(_attend_to_masks(q, masks, k, v, level))
        at_once = max(1, PAIRS_AT_ONCE // per_query)
        attend = partial(
            checkpoint, _attend_to_masks, use_reentrant=False, preserve_rng_state=False
        )
        parts = zip(q.split(at_once, 2), masks.split(at_once, 1), strict=True)
        return self._joined(torch.cat([attend(*part, k, v, level) for part in parts], 2))


class MaskedLayer(nn.Module):
    """Masked attention to one level, attention among queries, feed-forward; norms come after."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.look, self.talk = MaskedAttention(dim, num_heads), Attention(dim, num_heads)
        self.ffn = mlp(dim, WIDER * dim, dim)
        self.look_norm, self.talk_norm, self.ffn_norm = (nn.LayerNorm(dim) for _ in range(3))

    def forward(self, x: Tensor, places: Tensor, masks: Tensor, level: Level) -> Tensor:
        """Queries, their positions and the embeddings of their masks, [B, Q, E] each."""
        x = self.look_norm(x + self.look(x + places, masks, level))
        x = self.talk_norm(x + self.talk(x + places, x + places, x, None))
        out: Tensor = self.ffn_norm(x + self.ffn(x))
        return out


class MaskedDecoder(nn.Module):
    """Learnt queries, layers, and one classifier and mask embedding after each of them.

    Args:
        num_classes: K.
        num_queries: Q.
        dim: E.
        layers: how many; they go through the levels in turn, coarsest first.
        levels: how many there are; those that no layer reaches are not looked at.
        num_heads: of attention.
    """

    def __init__(
        self,
        num_classes: int,
        num_queries: int,
        dim: int,
        *,
        layers: int = 9,
        levels: int = 3,
        num_heads: int = 8,
    ) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(num_queries, dim))
        self.places = nn.Parameter(torch.randn(num_queries, dim))
        self.level_embed = nn.Parameter(torch.randn(min(levels, layers), dim))
        self.layers = nn.ModuleList(MaskedLayer(dim, num_heads) for _ in range(layers))
        for weights in self.layers.parameters():
            if weights.ndim > 1:
                nn.init.xavier_uniform_(weights)
        self.norm = nn.LayerNorm(dim)
        self.classify = nn.Linear(dim, num_classes + 1)
        self.embed = mlp(dim, dim, dim, dim)

    def forward(self, pixels: DecodedPixels, images: ImageList) -> MaskPrediction:
        """Predict before the first layer and after each."""
        levels = self._levels(pixels, images)
        batch = len(pixels.features)
        x, places = (p.expand(batch, -1, -1) for p in (self.queries, self.places))
        predicted = [self._predict(x)]
        for index, layer in enumerate(self.layers):
            level = levels[index % len(levels)]
            x = layer(x, places, predicted[-1][1].detach(), level)
            predicted.append(self._predict(x))
        classes, embeddings = (torch.stack(parts) for parts in zip(*predicted, strict=True))
        return MaskPrediction(classes, embeddings, pixels.features)

    def _predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(x)
        return self.classify(x), self.embed(x)

    def _levels(self, pixels: DecodedPixels, images: ImageList) -> list[Level]:
        levels = []
        for embed, x in zip(self.level_embed, pixels.levels, strict=False):
            shape = x.shape[2:]
            extents = map_extents(images.shapes, images.canvas, shape)
            values = x.flatten(2).transpose(1, 2) + embed
            keys = values + sine_positions(shape, extents, values.shape[2]).to(values.dtype)
            features = resize_maps(pixels.features.detach(), shape).flatten(2)
            levels.append(Level(values, keys, features, valid_cells(shape, extents).flatten(1)))
        return levels


def _attend_to_masks(q: Tensor, masks: Tensor, k: Tensor, v: Tensor, level: Level) -> Tensor:
    """Of some queries, [B, H, Q, E / H]."""
    seen = _where_masks_are(masks, level)[:, None]
    return F.scaled_dot_product_attention(q, k, v, seen)


def _where_masks_are(embeddings: Tensor, level: Level) -> Tensor:
    """[B, Q, N] bool: cells where the mask's probability is at least a half; all if there is none.

    Resizing is linear, so the mask at a level is the embedding times the resized features.
    """
    valid = level.valid_mask[:, None]
    inside = (embeddings @ level.features >= 0) & valid
    return inside | (valid & ~inside.any(-1, keepdim=True))
