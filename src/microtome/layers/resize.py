"""Resizing maps of any number of axes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def resize_maps(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Resize [B, C, *S] to [B, C, *shape] linearly; pixel areas, not pixel centres, are aligned."""
    if tuple(x.shape[2:]) == tuple(shape):
        return x
    return F.interpolate(x, size=tuple(shape), mode=_LINEAR[x.ndim - 2], align_corners=False)
