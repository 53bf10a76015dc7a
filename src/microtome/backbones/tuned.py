"""How much of a transformer is trained: all, nothing, its end, or something beside it."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from ..structures import Pyramid
from . import TokenBackbone, Tokens
from .low_rank import LowRank, insert, merge

__all__ = ["Tuned"]

Mode = Literal["full", "frozen", "partial", "lora", "dora"]


class Tuned(TokenBackbone):
    """A plain vision transformer of which only a part is trained.

    Frozen weights that came from a file are named in checkpoints, not copied into them.

    Args:
        vit: any plain vision transformer, timm's or our own, in 2D or 3D.
        mode: `full`, all of it; `frozen`, nothing; `partial`, the last `blocks` and the final norm;
            `lora` or `dora`, thin matrices beside its linear layers.
        blocks: how many blocks `partial` trains.
        low_rank: the size of the thin matrices.

    Raises ValueError for other modes and blocks, for a `vit` that is frozen already where some of
    it is to be trained, and when `low_rank` fits no layer.
    """

    def __init__(
        self,
        vit: TokenBackbone,
        mode: Mode = "lora",
        blocks: int = 4,
        low_rank: LowRank | None = None,
    ) -> None:
        super().__init__()
        if mode not in get_args(Mode):
            raise ValueError(f"mode: expected one of {get_args(Mode)}, got {mode!r}")
        if mode == "partial" and not 1 <= blocks <= vit.depth:
            raise ValueError(f"blocks: expected 1 to {vit.depth}, got {blocks}")
        if mode in ("full", "partial") and not any(p.requires_grad for p in vit.parameters()):
            raise ValueError(f"mode: {mode} trains what `vit` holds fixed: leave out its `freeze`")
        self.vit, self.mode = vit, mode
        self.in_channels, self.spec, self.mask_unit = vit.in_channels, vit.spec, vit.mask_unit
        self.normalisation, self.origin = vit.normalisation, vit.origin
        self.depth, self.embed_dim = vit.depth, vit.embed_dim
        if mode in ("lora", "dora"):
            insert(vit, low_rank or LowRank(), mode == "dora")
        elif mode == "frozen":
            vit.requires_grad_(False).eval()
        elif mode == "partial":
            vit.requires_grad_(False)
            for part in vit.last(blocks):
                part.requires_grad_(True)

    def embed(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Tokens:
        """Cut into tokens, as `vit` does."""
        return self.vit.embed(image, spacing, keep)

    def run(self, tokens: Tokens, start: int, stop: int, attn_mask: Tensor | None = None) -> Tokens:
        """Apply blocks `start` to `stop`."""
        return self.vit.run(tokens, start, stop, attn_mask)

    def normed(self, tokens: Tokens) -> Tensor:
        """Apply the final norm."""
        return self.vit.normed(tokens)

    def to_map(self, tokens: Tokens) -> Tensor:
        """Make the map of `vit`."""
        return self.vit.to_map(tokens)

    def last(self, blocks: int) -> list[torch.nn.Module]:
        """The last blocks of `vit`, and its final norm."""
        return self.vit.last(blocks)

    def forward(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Pyramid:
        """Compute the one map; frozen, nothing is kept for a backward pass."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.mode != "frozen"):
            return super().forward(image, spacing, keep)

    def train(self, mode: bool = True) -> Self:
        """Frozen, the transformer stays in evaluation."""
        super().train(mode)
        if self.mode == "frozen":
            self.vit.eval()
        return self

    def merge(self) -> None:
        """Put what was trained beside the weights into them; from then on it is plain.

        The output stays the same. Blueprints of models around it share its own, and follow.
        """
        if self.mode in ("lora", "dora"):
            merge(self.vit)
        self.mode = "full"
        self.requires_grad_(True)  # no longer what a file holds
        told: dict[str, Any] = self.blueprint["init_args"]
        told["mode"] = "full"
