"""Pure PyTorch, written to be read: the definition."""

from __future__ import annotations

import torch
from torch import Tensor


def run(boxes: Tensor, others: Tensor, kind: str = "iou") -> Tensor:
    """[N, 2D] and [M, 2D] -> [N, M]."""
    return overlap(boxes[:, None], others[None], kind)


def overlap(boxes: Tensor, others: Tensor, kind: str) -> Tensor:
    """[..., 2D] and [..., 2D] -> [...]."""
    dims = boxes.shape[-1] // 2
    dtype = exact(boxes, others)
    a, b = boxes.to(dtype), others.to(dtype)
    low, high = torch.maximum(a[..., :dims], b[..., :dims]), torch.minimum(a, b)[..., dims:]
    shared = _product(high - low)
    union = volume(a) + volume(b) - shared
    iou = _share(shared, union)
    if kind == "iou":
        return iou
    low, high = torch.minimum(a[..., :dims], b[..., :dims]), torch.maximum(a, b)[..., dims:]
    hull = _product(high - low)
    return iou - _share(hull - union, hull)


def exact(boxes: Tensor, others: Tensor) -> torch.dtype:
    """What both are computed in: float64 where one of them is, else float32."""
    return torch.promote_types(torch.promote_types(boxes.dtype, others.dtype), torch.float32)


def volume(boxes: Tensor) -> Tensor:
    """[..., 2D] -> [...]; zero where a box is the wrong way round or not a number."""
    dims = boxes.shape[-1] // 2
    return _product(boxes[..., dims:] - boxes[..., :dims])


def _product(sides: Tensor) -> Tensor:
    """Over the last axis; a side that is not above 0 is 0, with a gradient of zero."""
    return sides.where(sides > 0, 0).prod(-1)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """The part of the whole; zero of nothing, with a gradient of zero."""
    some = whole > 0
    return part.where(some, 0) / whole.where(some, 1)


def refusals(boxes: Tensor, others: Tensor, kind: str = "iou") -> list[str]:
    """Nothing."""
    return []
