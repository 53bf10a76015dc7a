"""Instance masks as integer maps: memory grows with pixels, not with objects times pixels.

K layers, N objects, P points, D axes, *S the spatial shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain

import torch
from torch import Tensor

from ..geometry import Region, Shape, window
from ..ops.masks_to_boxes import masks_to_boxes
from .bit_masks import BitMasks
from .indexing import Index, positions
from .laying import lay_maps, lay_parts
from .nearest import at_points, nearest
from .tensor_tree import TensorTree


@dataclass(frozen=True)
class LabelLayers(TensorTree):
    """N objects of one image in K layers (one layer unless objects overlap).

    Attributes:
        maps: [K, *S] integers; 0 is background, i + 1 the i-th object.
        ids: [N] int64, the objects' ids in the file they came from. They stand aside because
            resampling in float32 corrupts ids above 2^24.
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

    @classmethod
    def from_masks(
        cls, masks: Iterable[Tensor] | BitMasks, ids: Sequence[int] | Tensor | None = None
    ) -> LabelLayers:
        """Make layers from masks that may overlap: each goes into the first layer with room.

        Args:
            masks: N masks [*S] bool, or one tensor [N, *S]. They are read one at a time, so an
                iterator that makes them needs the memory of one.
            ids: [N] the objects' ids; 1…N when not given.

        Raises ValueError for masks of several shapes, other numbers of ids, or no mask and no
        shape: an image without objects is a tensor [0, *S].
        """
        masks = masks.tensor if isinstance(masks, BitMasks) else masks
        shape = tuple(masks.shape[1:]) if isinstance(masks, Tensor) else None
        rest = iter(masks)
        first = next(rest, None)
        if first is None and shape is None:
            raise ValueError("no masks, so no shape: give a tensor [0, *S]")
        shape = shape or tuple(torch.as_tensor(first).shape)
        every = rest if first is None else chain([first], rest)
        return cls.from_parts(((window(shape), mask) for mask in every), shape, ids)

    @classmethod
    def from_parts(
        cls,
        parts: Iterable[tuple[Region, Tensor]],
        shape: Shape,
        ids: Sequence[int] | Tensor | None = None,
    ) -> LabelLayers:
        """Make layers from masks of boxes that may overlap; the work grows with the boxes.

        Args:
            parts: N boxes inside the image and the masks [*box] bool in them.
            shape: *S of the image.
            ids: [N] the objects' ids; 1…N when not given.

        Raises ValueError for masks that do not fit their boxes, and other numbers of ids.
        """
        maps, count = lay_parts(parts, shape)
        named = torch.arange(1, count + 1) if ids is None else torch.as_tensor(ids)
        if len(named) != count:
            raise ValueError(f"{count} masks but {len(named)} ids")
        return cls(maps, named.to(maps.device, torch.int64))

    @classmethod
    def cat(cls, parts: Sequence[LabelLayers]) -> LabelLayers:
        """All objects of several LabelLayers of one shape, in order; ids may repeat.

        A layer is laid upon an earlier one where no pixel is taken by both.

        Raises ValueError when the shapes differ.
        """
        shapes = [tuple(part.maps.shape[1:]) for part in parts]
        if len(set(shapes)) != 1:
            raise ValueError(f"expected LabelLayers of one shape, got {shapes}")
        before = accumulate(map(len, parts), initial=0)
        moved = (
            torch.where(numbers > 0, numbers + first, 0)
            for part, first in zip(parts, before, strict=False)
            for numbers in part.maps
        )
        return cls(lay_maps(moved), torch.cat([part.ids for part in parts]))

    def __getitem__(self, index: Index) -> LabelLayers:
        """Choose objects, in the order asked for; the others' pixels become background.

        Raises ValueError when an object is chosen twice, IndexError when there is none such.
        """
        kept = positions(index, len(self), self.ids.device)
        if len(kept.unique()) < len(kept):
            raise ValueError("the same object was chosen twice, and a pixel has one number a layer")
        return LabelLayers(self._renumbered(kept, len(self)), self.ids[kept])

    def present(self) -> tuple[LabelLayers, Tensor]:
        """Drop objects without a pixel; also return [M] the indices of those that stay."""
        seen = torch.zeros(len(self) + 1, dtype=torch.bool, device=self.maps.device)
        seen[self.maps.flatten().long()] = True
        kept = seen[1:].nonzero().flatten()
        return self[kept], kept

    def relabel(self, ids: Tensor) -> LabelLayers:
        """Give the objects other ids; those of one id become one object, those of 0 are dropped.

        Args:
            ids: [N] integers from 0 on.

        Returns:
            The objects in the order of their ids, which are unique.

        Raises ValueError for another number of ids, or negative ones.
        """
        if len(ids) != len(self) or (ids < 0).any():
            raise ValueError(f"expected {len(self)} ids from 0 on, got {ids.tolist()}")
        unique, number = torch.unique(ids.long(), return_inverse=True)
        first = int(len(unique) > 0 and unique[0] == 0)
        table = torch.zeros(len(self) + 1, dtype=self.maps.dtype, device=self.maps.device)
        table[1:] = number + 1 - first
        maps = self._looked_up(table)
        for layer in range(1, len(maps)):  # where parts of one object overlapped
            maps[layer][(maps[layer] == maps[:layer]).any(0)] = 0
        return LabelLayers(maps, unique[first:])

    def id_maps(self) -> Tensor:
        """[K, *S] int64: the ids themselves, 0 for background; the way back from `from_ids`."""
        return self._looked_up(torch.cat([self.ids.new_zeros(1), self.ids]))

    def boxes(self) -> Tensor:
        """[N, 2D] half-open boxes in pixels; zeros for an object that has no pixel left."""
        return masks_to_boxes(self.maps, len(self))

    def areas(self) -> Tensor:
        """[N] int64, the pixels of each object."""
        return torch.bincount(self.maps.flatten(), minlength=len(self) + 1)[1:]

    def dense(self) -> BitMasks:
        """One mask per object: N times the memory, for small images and tests."""
        number = torch.arange(1, len(self) + 1, device=self.maps.device)
        return BitMasks((self.maps[None] == number.view(-1, *[1] * self.maps.ndim)).any(1))

    def sample(self, points: Tensor) -> Tensor:
        """[K, P] the numbers at points [P, D]: 0…1 from border to border, array order, nearest."""
        return at_points(self.maps, points)

    def resize(self, shape: Shape) -> LabelLayers:
        """Take the nearest pixel; objects keep their numbers, even those without a pixel left."""
        return replace(self, maps=nearest(self.maps, shape))

    def crop(self, region: Region) -> LabelLayers:
        """Cut a region out; objects keep their numbers, even those without a pixel left."""
        return replace(self, maps=self.maps[(slice(None), *region)])

    def pad(self, canvas: Shape) -> LabelLayers:
        """Pad with background at the far ends."""
        full = self.maps.new_zeros(len(self.maps), *canvas)
        full[(slice(None), *window(self.maps.shape[1:]))] = self.maps
        return replace(self, maps=full)

    def _renumbered(self, kept: Tensor, count: int) -> Tensor:
        table = torch.zeros(count + 1, dtype=self.maps.dtype, device=self.maps.device)
        numbers = torch.arange(1, len(kept) + 1, dtype=table.dtype, device=table.device)
        table[kept + 1] = numbers
        return self._looked_up(table)

    def _looked_up(self, table: Tensor) -> Tensor:
        """A value for every pixel, by its number."""
        return table[self.maps.long()]
