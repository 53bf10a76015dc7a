"""ViT-Adapter (Chen et al., "Vision Transformer Adapter for Dense Predictions", ICLR 2023), N-D."""

from __future__ import annotations

from itertools import pairwise
from math import lcm

import torch
from torch import Tensor, nn

from ..layers import Norm, centres, doubling, resize_maps
from ..layers import norm as make_norm
from ..structures import Pyramid, PyramidSpec
from . import Backbone, TokenBackbone, Tokens
from .interaction import Extractor, Injector, to_maps, to_sequence
from .spatial_prior import SpatialPrior
from .tokens import check_one_batch, even_cuts

__all__ = ["ViTAdapter"]

_FACTORS = (0.25, 0.5, 1.0, 2.0)  # strides of the levels, in patches


class ViTAdapter(Backbone):
    """Four levels, at a quarter, half, one and two patches, out of a plain vision transformer.

    A convolutional pyramid is fed into the transformer before each of a few groups of blocks, and
    looks at the tokens after it. The groups share all blocks of the transformer evenly.

    Args:
        vit: any plain vision transformer, timm's or our own, in 2D or 3D.
        interactions: number of groups of blocks.
        num_heads: heads of the deformable attention.
        prior_width: channels at the beginning of the convolutional pyramid.
        ffn_ratio: hidden channels of the extractors' networks per channel.
        extra_extractors: further looks at the tokens after the last block.
        norm: `group`, or `batch`, which Lightning's `sync_batchnorm` joins over processes.

    Raises ValueError when there are more interactions than blocks, when `num_heads` does not divide
    the transformer's channels, and for models that look at each channel alone.
    """

    def __init__(
        self,
        vit: TokenBackbone,
        interactions: int = 4,
        num_heads: int = 8,
        prior_width: int = 64,
        ffn_ratio: float = 0.25,
        extra_extractors: int = 2,
        norm: Norm = "group",
    ) -> None:
        super().__init__()
        check_one_batch(vit)
        if not 1 <= interactions <= vit.depth:
            raise ValueError(f"{interactions} interactions do not fit into {vit.depth} blocks")
        self.vit, self.in_channels = vit, vit.in_channels
        self.normalisation, self.origin = vit.normalisation, vit.origin
        self.spec = _spec(vit)
        dim, patch, dims = vit.embed_dim, vit.spec.strides[0], vit.spec.spatial_dims
        self.cuts = even_cuts(vit.depth, interactions)
        self.prior = SpatialPrior(vit.in_channels, dim, patch, prior_width, norm)
        self.level_embed = nn.Parameter(torch.randn(3, dim))
        self.injectors = nn.ModuleList(
            Injector(dim, 3, dims, num_heads) for _ in range(interactions)
        )
        self.extractors = nn.ModuleList(
            Extractor(dim, dims, num_heads, ffn_ratio)
            for _ in range(interactions + extra_extractors)
        )
        self.finest = doubling(dims, dim)
        self.norms = nn.ModuleList(make_norm(norm, dims, dim) for _ in _FACTORS)

    def forward(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Pyramid:
        """Compute the four maps, finest first.

        Raises NotImplementedError when `keep` is given: convolutions cannot skip units.
        """
        if keep is not None:
            raise NotImplementedError("ViT-Adapter's convolutions cannot work on some units only")
        tokens = self.vit.embed(image, spacing)
        shapes = _shapes(tokens.grid)
        finest, *coarser = self.prior(image, shapes)
        embeds = self.level_embed.view(3, -1, *[1] * len(tokens.grid))
        pyramid = to_sequence([x + e for x, e in zip(coarser, embeds, strict=True)])
        tokens, pyramid = self._interact(tokens, pyramid, shapes[1:])
        maps = to_maps(pyramid, shapes[1:])
        maps = [finest + self.finest(maps[0]), *maps]
        seen = self.vit.to_map(tokens)
        return tuple(
            norm(x + resize_maps(seen, x.shape[2:]))
            for norm, x in zip(self.norms, maps, strict=True)
        )

    def _interact(
        self, tokens: Tokens, pyramid: Tensor, shapes: list[tuple[int, ...]]
    ) -> tuple[Tokens, Tensor]:
        """Run all blocks; between groups of them pyramid and tokens look at each other."""
        device, prefix, groups = pyramid.device, tokens.prefix, len(self.injectors)
        places = torch.cat([centres(s, device) for s in shapes])[None]  # [1, M, D]
        grid_places = centres(tokens.grid, device)[None]  # [1, N, D]
        extractors = list(self.extractors)
        for index, (start, stop) in enumerate(pairwise(self.cuts)):
            x = tokens.x[:, prefix:]
            x = self.injectors[index](x, grid_places, pyramid, shapes)
            x = torch.cat([tokens.x[:, :prefix], x], 1)
            tokens = self.vit.run(tokens._replace(x=x), start, stop)
            last = index == groups - 1
            for extractor in extractors[index:] if last else extractors[index : index + 1]:
                pyramid = extractor(pyramid, places, tokens.x[:, prefix:], tokens.grid, shapes)
        return tokens, pyramid


def _spec(vit: TokenBackbone) -> PyramidSpec:
    patch = vit.spec.strides[0]
    multiple = tuple(lcm(2 * int(p), m) for p, m in zip(patch, vit.spec.multiple, strict=True))
    strides = tuple(tuple(p * f for p in patch) for f in _FACTORS)
    return PyramidSpec((vit.embed_dim,) * len(_FACTORS), strides, multiple)


def _shapes(grid: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [tuple(int(n / f) for n in grid) for f in _FACTORS]
