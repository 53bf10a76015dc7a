"""Boxes around objects, with any number of axes: N boxes, D axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..ops.box_iou import box_giou, box_iou
from .box_formats import from_format, to_format
from .box_overlap import box_ciou, box_diou, box_ioa
from .indexing import Index, positions
from .tensor_tree import TensorTree

PerAxis = Sequence[float] | Tensor  # one value for each of D axes


@dataclass(frozen=True)
class Boxes(TensorTree):
    """Half-open boxes [N, 2D], `z0 y0 x0 z1 y1 x1` in pixels, like scikit-image's `bbox`."""

    tensor: Tensor

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: Index) -> Boxes:
        """Choose boxes by number, numbers, slice or a bool tensor [N]; always a set of boxes."""
        return Boxes(self.tensor[positions(index, len(self), self.tensor.device)])

    @classmethod
    def from_format(cls, values: Tensor, name: str) -> Boxes:
        """Read boxes of another axis order; the names stand in `box_formats.py`."""
        return cls(from_format(values, name))

    def to_format(self, name: str) -> Tensor:
        """[N, 2D] in another axis order, such as COCO's `xywh`."""
        return to_format(self.tensor, name)

    @property
    def low(self) -> Tensor:
        """[N, D] the corners nearest to the origin."""
        return self.tensor[:, : self.tensor.shape[1] // 2]

    @property
    def high(self) -> Tensor:
        """[N, D] the corners farthest from the origin."""
        return self.tensor[:, self.tensor.shape[1] // 2 :]

    def sizes(self) -> Tensor:
        """[N, D] lengths of the sides; negative ones of a box that is the wrong way round."""
        return self.high - self.low

    def areas(self) -> Tensor:
        """[N] areas, or volumes; 0 for a box that is the wrong way round."""
        return self.sizes().clamp(min=0).prod(1)

    def centres(self) -> Tensor:
        """[N, D]."""
        return (self.low + self.high) / 2

    def nonempty(self, least: float = 0) -> Tensor:
        """[N] bool: every side is longer than `least` pixels."""
        return (self.sizes() > least).all(1)

    def inside(self, shape: PerAxis) -> Tensor:
        """[N] bool: the whole box lies in an image of `shape`."""
        return (self.low >= 0).all(1) & (self.high <= self._values(shape)).all(1)

    def scale(self, factors: PerAxis) -> Boxes:
        """Multiply coordinates by one factor per axis."""
        return Boxes(self.tensor * self._values(factors).repeat(2))

    def resize(self, have: PerAxis, want: PerAxis) -> Boxes:
        """Follow an image that is resized from one shape to another."""
        return self.scale(self._values(want) / self._values(have))

    def expand(self, pixels: PerAxis) -> Boxes:
        """Move every side outwards by so many pixels per axis."""
        wider = self._values(pixels)
        return Boxes(torch.cat([self.low - wider, self.high + wider], 1))

    def place(self, offset: PerAxis, scale: PerAxis, shape: PerAxis) -> Boxes:
        """Follow a cut, and a resize, of the image; what lies outside is clipped off.

        Args:
            offset, scale: where a pixel of the new image was: `offset + scale * here`.
            shape: of the new image.
        """
        start, step = self._values(offset).repeat(2), self._values(scale).repeat(2)
        return Boxes((self.tensor - start) / step).clip(shape)

    def clip(self, shape: PerAxis) -> Boxes:
        """Clip to an image of `shape`."""
        return Boxes(torch.minimum(self.tensor.clamp(min=0), self._values(shape).repeat(2)))

    def iou(self, other: Boxes) -> Tensor:
        """[N, M] intersection over union with every box of another set."""
        return box_iou(self.tensor, other.tensor)

    def giou(self, other: Boxes) -> Tensor:
        """[N, M] generalised IoU."""
        return box_giou(self.tensor, other.tensor)

    def diou(self, other: Boxes) -> Tensor:
        """[N, M] distance IoU."""
        return box_diou(self.tensor, other.tensor)

    def ciou(self, other: Boxes) -> Tensor:
        """[N, M] complete IoU."""
        return box_ciou(self.tensor, other.tensor)

    def ioa(self, other: Boxes) -> Tensor:
        """[N, M] the part of each of these boxes that lies in the other one."""
        return box_ioa(self.tensor, other.tensor)

    def _values(self, values: PerAxis) -> Tensor:
        """[D] on the boxes' device; a fraction makes integer boxes real ones."""
        return torch.as_tensor(values, device=self.tensor.device)
