"""Instance masks as integer maps: memory grows with pixels, not with objects times pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..geometry import Region, Shape, window
from ..ops.masks_to_boxes import masks_to_boxes


@dataclass(frozen=True)
class LabelLayers:
    """N objects of one image in K layers (one layer unless objects overlap).

    Attributes:
        maps: [K, *S] integers; 0 is background, i + 1 the i-th object.
        ids: [N] the objects' ids in the file they came from. They stand aside because resampling
            in float32 corrupts ids above 2^24.
    """

    maps: Tensor
    ids: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def from_ids(cls, id_map: Tensor) -> LabelLayers:
        """Make layers from one map [*S] of any non-negative ids, 0 being background."""
        ids, dense = torch.unique(id_map, return_inverse=True)
        if len(ids) and ids[0] == 0:
            return cls(dense.to(torch.int32)[None], ids[1:].long())
        return cls((dense + 1).to(torch.int32)[None], ids.long())

    def boxes(self) -> Tensor:
        """[N, 2D] half-open boxes in pixels; zeros for an object that has no pixel left."""
        return masks_to_boxes(self.maps, len(self))

    def dense(self) -> Tensor:
        """[N, *S] bool: N times the memory, for small images and tests."""
        number = torch.arange(1, len(self) + 1, device=self.maps.device)
        return (self.maps[None] == number.view(-1, *[1] * self.maps.ndim)).any(1)

    def crop(self, region: Region) -> LabelLayers:
        """Cut a region out; objects keep their numbers, even those without a pixel left."""
        return replace(self, maps=self.maps[(slice(None), *region)])

    def pad(self, canvas: Shape) -> LabelLayers:
        """Pad with background at the far ends."""
        full = self.maps.new_zeros(len(self.maps), *canvas)
        full[(slice(None), *window(self.maps.shape[1:]))] = self.maps
        return replace(self, maps=full)

    def present(self) -> tuple[LabelLayers, Tensor]:
        """Drop objects without a pixel; also return [M] the indices of those that stay."""
        seen = torch.zeros(len(self) + 1, dtype=torch.bool, device=self.maps.device)
        seen[self.maps.flatten().long()] = True
        kept = seen[1:].nonzero().flatten()
        renumber = torch.zeros(len(self) + 1, dtype=self.maps.dtype, device=self.maps.device)
        renumber[kept + 1] = torch.arange(
            1, len(kept) + 1, dtype=self.maps.dtype, device=self.maps.device
        )
        return LabelLayers(renumber[self.maps.long()], self.ids[kept]), kept

    def to(self, device: torch.device | str) -> LabelLayers:
        """Move both tensors."""
        return LabelLayers(self.maps.to(device), self.ids.to(device))
