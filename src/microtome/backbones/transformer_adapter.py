"""New transformer blocks after a pretrained vision transformer, on all of its tokens."""

from __future__ import annotations

from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ..layers import drop_path_rates
from ..structures import Pyramid
from . import Backbone, TokenBackbone
from .tokens import check_one_batch, on_grid

__all__ = ["TransformerAdapter"]


class TransformerAdapter(Backbone):
    """The transformer's map after a few more blocks, which see its class and register tokens too.

    The blocks begin as next to nothing (LayerScale), so training begins at the published features.

    Args:
        vit: any plain vision transformer, timm's or our own, in 2D or 3D; usually frozen.
        depth: new blocks.
        head_dim: channels of a head of their attention.
        mlp_ratio: hidden channels of their networks per channel.
        drop_path: how often a sample skips a block while training; grows from 0 to this.
        layer_scale: by what the new blocks are multiplied at first.

    Raises ValueError for no blocks, for heads that do not divide the channels, and for models that
    look at each channel alone.
    """

    def __init__(
        self,
        vit: TokenBackbone,
        depth: int = 4,
        head_dim: int = 64,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
        layer_scale: float = 1e-5,
    ) -> None:
        super().__init__()
        check_one_batch(vit)
        if depth < 1:
            raise ValueError(f"depth: expected at least 1 block, got {depth}")
        self.vit, self.in_channels, self.spec = vit, vit.in_channels, vit.spec
        self.normalisation, self.origin, self.mask_unit = (
            vit.normalisation,
            vit.origin,
            vit.mask_unit,
        )
        dim = vit.embed_dim
        if dim % head_dim:
            raise ValueError(f"heads of {head_dim} channels do not divide {dim} channels")
        (rates,) = drop_path_rates(drop_path, (depth,))
        self.blocks = nn.ModuleList(
            Block(
                dim,
                dim // head_dim,
                mlp_ratio,
                qkv_bias=True,
                init_values=layer_scale,
                drop_path=rate,
            )
            for rate in rates
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Pyramid:
        """Compute the one map."""
        tokens = self.vit.run(self.vit.embed(image, spacing, keep), 0, self.vit.depth)
        x = self.vit.normed(tokens)
        for block in self.blocks:
            x = block(x)
        return (on_grid(tokens._replace(x=self.norm(x))),)
