"""What a backbone or neck promises of its feature maps."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

Pyramid = tuple[Tensor, ...]  # finest first, [B, C_l, *S_l]


class PyramidSpec(NamedTuple):
    """Channels and strides per level, finest first, and the size images are padded to.

    Attributes:
        channels: C_l of each level.
        strides: per level and axis, in image pixels; 3.5 occurs (patch 14 divided by 4).
        multiple: per axis; with images padded to it, `canvas == level shape * stride` exactly.
    """

    channels: tuple[int, ...]
    strides: tuple[tuple[float, ...], ...]
    multiple: tuple[int, ...]

    @property
    def spatial_dims(self) -> int:
        """D."""
        return len(self.multiple)
