"""Masks as one bit map per object: N times the memory of `LabelLayers`, for few or small ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry import Region, Shape
from .indexing import Index, positions
from .nearest import nearest
from .tensor_tree import TensorTree


@dataclass(frozen=True)
class BitMasks(TensorTree):
    """N masks [N, *S], bool, which may overlap.

    Raises ValueError for other types.
    """

    tensor: Tensor

    def __post_init__(self) -> None:
        if self.tensor.dtype != torch.bool:
            raise ValueError(f"masks are bool, got {self.tensor.dtype}: say what counts as inside")

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: Index) -> BitMasks:
        """Choose masks by number, numbers, slice or a bool tensor [N]; always a set of masks."""
        return BitMasks(self.tensor[positions(index, len(self), self.tensor.device)])

    def __and__(self, other: BitMasks) -> BitMasks:
        """What is in both; sets of one mask meet every mask of the other set."""
        return BitMasks(self.tensor & other.tensor)

    def __or__(self, other: BitMasks) -> BitMasks:
        """What is in one of both."""
        return BitMasks(self.tensor | other.tensor)

    def __xor__(self, other: BitMasks) -> BitMasks:
        """What is in one of both only."""
        return BitMasks(self.tensor ^ other.tensor)

    def __sub__(self, other: BitMasks) -> BitMasks:
        """What is in the first only."""
        return BitMasks(self.tensor & ~other.tensor)

    def __invert__(self) -> BitMasks:
        """What is outside."""
        return BitMasks(~self.tensor)

    def any(self) -> Tensor:
        """[*S] bool: what is in any of the masks."""
        return self.tensor.any(0)

    def areas(self) -> Tensor:
        """[N] int64, pixels."""
        return self.tensor.flatten(1).sum(1)

    def nonempty(self) -> Tensor:
        """[N] bool."""
        return self.tensor.flatten(1).any(1)

    def boxes(self) -> Tensor:
        """[N, 2D] int64, half-open boxes in pixels; zeros for a mask without a pixel."""
        low, high = [], []
        for axis in range(1, self.tensor.ndim):
            line = self.tensor.movedim(axis, 1).flatten(2).any(2).int()  # [N, S]
            length = line.shape[1]
            low.append(line.argmax(1))
            high.append(length - line.flip(1).argmax(1))
        return torch.stack([*low, *high], 1) * self.nonempty()[:, None]

    def crop(self, region: Region) -> BitMasks:
        """Cut a region out."""
        return BitMasks(self.tensor[(slice(None), *region)])

    def resize(self, shape: Shape) -> BitMasks:
        """Take the nearest pixel."""
        return BitMasks(nearest(self.tensor, shape))
