"""Resizing maps of any number of axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn import functional as F

_POOL: dict[int, Callable[[Tensor, int], Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def resize_maps(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Resize [B, C, *S] to [B, C, *shape] linearly; pixel areas, not pixel centres, are aligned."""
    if tuple(x.shape[2:]) == tuple(shape):
        return x
    return F.interpolate(x, size=tuple(shape), mode=_LINEAR[x.ndim - 2], align_corners=False)


def pool_to(x: Tensor, bins: int) -> Tensor:
    """Average [B, C, *S] over `bins` parts per axis: [B, C, bins, …]."""
    return _POOL[x.ndim - 2](x, bins)


def resize_cubic(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Resize [B, C, *S] to [B, C, *shape] by cubic curves, one axis after the other."""
    for axis, size in enumerate(shape, start=2):
        if x.shape[axis] != size:
            lines = x.movedim(axis, -1)  # [B, C, others, S]
            flat = lines.flatten(1, -2)[:, None]
            flat = F.interpolate(flat, size=(flat.shape[2], size), mode="bicubic")
            x = flat[:, 0].unflatten(1, lines.shape[1:-1]).movedim(-1, axis)
    return x


def every_second(x: Tensor) -> Tensor:
    """[B, C, *S] -> [B, C, *ceil(S / 2)], the first cell of each two along every axis."""
    return x[(slice(None), slice(None), *[slice(None, None, 2)] * (x.ndim - 2))]
