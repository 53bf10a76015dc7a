"""Backbones: image [B, C, *S] to feature maps, finest first.

`Backbone` is any of them; a plain vision transformer is a `TokenBackbone`, whose three verbs let
others (ViT-Adapter, masked autoencoders, EoMT) work between its blocks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from ..blueprint import Part
from ..structures import Pyramid, PyramidSpec

__all__ = ["Backbone", "Normalisation", "TokenBackbone", "Tokens"]


class Normalisation(NamedTuple):
    """Mean and standard deviation in unit range (0 black, 1 white): one, or one per channel."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def adapted(self, channels: int) -> Normalisation:
        """Statistics of colour images for any number of channels, as their kernels are adapted.

        One channel is the sum of three kernels, so it takes their average; more repeat in turn.
        """
        count = len(self.mean)
        if channels == 1:
            return Normalisation((sum(self.mean) / count,), (sum(self.std) / count,))
        turns = [i % count for i in range(channels)]
        return Normalisation(tuple(self.mean[i] for i in turns), tuple(self.std[i] for i in turns))


class Backbone(Part):
    """Image to pyramid.

    Attributes:
        spec: channels, strides and size multiple of what `forward` returns.
        normalisation: the statistics its weights were trained with.
        in_channels: C of the images it takes.
        mask_unit: pixels per axis of one droppable unit; None where units cannot be dropped.
        origin: where published weights came from: `name`, `weights`, `licence`; else empty.
        named_weights: `name`, `sha256` and `path` of the file that holds all weights, where they
            are frozen as they came from it; checkpoints name it then instead of holding a copy.
    """

    spec: PyramidSpec
    normalisation: Normalisation = Normalisation()
    in_channels: int = 3
    mask_unit: tuple[int, ...] | None = None
    origin: Mapping[str, str] = {}

    @property
    def named_weights(self) -> Mapping[str, str] | None:
        """None where a checkpoint has to hold the weights."""
        return None

    @property
    def named_keys(self) -> frozenset[str]:
        """The names in its state whose values that file holds, and training does not change."""
        return frozenset(self.state_dict())

    def refill(self, path: Path) -> None:
        """Load the file that `named_weights` named.

        Raises ValueError when it is another one.
        """
        raise NotImplementedError(f"{type(self).__name__} never names its weights")

    @abstractmethod
    def forward(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Pyramid:
        """Compute the maps.

        Args:
            image: [B, C, *S], normalised, S a multiple of `spec.multiple`.
            spacing: [B, D] micrometres per pixel; None when unknown.
            keep: [B, *units] bool: work on these units only, return zeros elsewhere.

        Returns:
            Maps [B, C_l, *S_l], finest first, as `spec` promises.
        """


class Tokens(NamedTuple):
    """Tokens between blocks.

    Attributes:
        x: [B, prefix + N, C], N the visible tokens of `grid`.
        grid: the token grid of the whole image.
        prefix: number of class and register tokens at the front.
        keep: [B, *grid] bool, or None when all tokens are visible.
        positions: what every block needs again (rotary embeddings), or None.
    """

    x: Tensor
    grid: tuple[int, ...]
    prefix: int = 0
    keep: Tensor | None = None
    positions: Tensor | None = None


class TokenBackbone(Backbone):
    """A plain vision transformer: one token grid from the first block to the last."""

    depth: int
    embed_dim: int

    @abstractmethod
    def embed(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Tokens:
        """Cut [B, C, *S] into tokens and add positions."""

    @abstractmethod
    def run(self, tokens: Tokens, start: int, stop: int, attn_mask: Tensor | None = None) -> Tokens:
        """Apply blocks `start` to `stop` (half-open)."""

    @abstractmethod
    def normed(self, tokens: Tokens) -> Tensor:
        """Apply the final norm to all tokens: [B, prefix + N, C]."""

    @abstractmethod
    def last(self, blocks: int) -> list[nn.Module]:
        """The last blocks, and the final norm: what is trained where the rest is frozen."""

    @abstractmethod
    def to_map(self, tokens: Tokens) -> Tensor:
        """Final norm, prefix off, dropped tokens as zeros: [B, C, *grid]."""

    def forward(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Pyramid:
        """Return the one map after the last block."""
        return (self.to_map(self.run(self.embed(image, spacing, keep), 0, self.depth)),)
