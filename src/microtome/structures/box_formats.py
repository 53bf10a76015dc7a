"""Boxes of other axis orders: here, and only here, they are turned.

| name                   | values                           | used by                |
|------------------------|----------------------------------|------------------------|
| `xyxy`, `xyzxyz`       | the lower corner, the higher one | torchvision            |
| `xywh`, `xyzwhd`       | the lower corner, the sizes      | COCO                   |
| `cxcywh`, `cxcyczwhd`  | the centre, the sizes            | DETR and its followers |

Width is along x, height along y, depth along z.
"""

from __future__ import annotations

import torch
from torch import Tensor

FORMATS = {
    "xyxy": ("corners", 2),
    "xyzxyz": ("corners", 3),
    "xywh": ("origin", 2),
    "xyzwhd": ("origin", 3),
    "cxcywh": ("centre", 2),
    "cxcyczwhd": ("centre", 3),
}


def from_format(values: Tensor, name: str) -> Tensor:
    """[N, 2D] of a named format to half-open corners in array order, `z0 y0 x0 z1 y1 x1`.

    Raises ValueError for an unknown name, or another number of values.
    """
    kind, dims = _known(values, name)
    first, second = values[:, :dims].flip(1), values[:, dims:].flip(1)
    if kind == "origin":
        second = first + second
    elif kind == "centre":
        first, second = first - second / 2, first + second / 2
    return torch.cat([first, second], 1)


def to_format(boxes: Tensor, name: str) -> Tensor:
    """Half-open corners in array order to [N, 2D] of a named format; errors as `from_format`."""
    kind, dims = _known(boxes, name)
    first, second = boxes[:, :dims].flip(1), boxes[:, dims:].flip(1)
    if kind == "origin":
        second = second - first
    elif kind == "centre":
        first, second = (first + second) / 2, second - first
    return torch.cat([first, second], 1)


def _known(values: Tensor, name: str) -> tuple[str, int]:
    if name not in FORMATS:
        raise ValueError(f"expected one of {', '.join(FORMATS)}, got {name!r}")
    kind, dims = FORMATS[name]
    if values.ndim != 2 or values.shape[1] != 2 * dims:
        raise ValueError(f"{name} is [N, {2 * dims}], got {list(values.shape)}")
    return kind, dims
