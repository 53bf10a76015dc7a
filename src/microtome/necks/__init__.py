"""Necks: feature maps to feature maps."""

from __future__ import annotations

from abc import abstractmethod

from ..blueprint import Part
from ..structures import Pyramid, PyramidSpec

__all__ = ["Neck"]


class Neck(Part):
    """Maps to maps; `spec` is what it returns."""

    spec: PyramidSpec

    @abstractmethod
    def forward(self, pyramid: Pyramid) -> Pyramid:
        """Maps [B, C_l, *S_l], finest first, to other maps, finest first."""
