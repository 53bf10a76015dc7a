"""What a backbone or neck promises of its feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
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

    @classmethod
    def stepped(cls, channels: Sequence[int], steps: Sequence[Sequence[int]]) -> PyramidSpec:
        """Each level `steps` (per axis) coarser than the one before, the first than the image."""
        strides = tuple(accumulate(map(tuple, steps), _times))
        floats = tuple(tuple(float(s) for s in stride) for stride in strides)
        return cls(tuple(channels), floats, strides[-1])

    @property
    def spatial_dims(self) -> int:
        """D."""
        return len(self.multiple)


def _times(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a * b for a, b in zip(one, other, strict=True))
