"""Boxes around objects, with any number of axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..ops.box_iou import box_iou
from .indexing import Index, positions


@dataclass(frozen=True)
class Boxes:
    """Half-open boxes [N, 2D], `z0 y0 x0 z1 y1 x1` in pixels, like scikit-image's `bbox`."""

    tensor: Tensor

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: Index) -> Boxes:
        """Choose boxes by number, numbers, slice or a bool tensor [N]; always a set of boxes."""
        return Boxes(self.tensor[positions(index, len(self), self.tensor.device)])

    def clip(self, shape: Tensor) -> Boxes:
        """Clip to an image of `shape` [D]."""
        return Boxes(torch.minimum(self.tensor.clamp(min=0), shape.repeat(2)))

    def iou(self, other: Boxes) -> Tensor:
        """[N, M] intersection over union with every box of another set."""
        return box_iou(self.tensor, other.tensor)
