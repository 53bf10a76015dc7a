"""Necks: feature maps to feature maps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from fractions import Fraction

from ..blueprint import Part
from ..structures import Pyramid, PyramidSpec

__all__ = ["Neck", "pyramid_of"]


class Neck(Part):
    """Maps to maps; `spec` is what it returns."""

    spec: PyramidSpec

    @abstractmethod
    def forward(self, pyramid: Pyramid) -> Pyramid:
        """Maps [B, C_l, *S_l], finest first, to other maps, finest first."""


def pyramid_of(
    channels: int, strides: Sequence[tuple[float, ...]], multiple: Sequence[int]
) -> PyramidSpec:
    """Levels of equal channels, for images that the coarsest of them and `multiple` divide."""
    padded = tuple(
        m * Fraction(Fraction(coarsest), m).numerator
        for m, coarsest in zip(multiple, strides[-1], strict=True)
    )
    return PyramidSpec((channels,) * len(strides), tuple(strides), padded)
