"""Which objects of a result lie on which of the truth: the sparse table all object metrics read.

N objects of the result, M of the truth, P pairs that share a pixel, *S the spatial shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..ops.mask_overlap import mask_overlap
from ..structures import LabelLayers

PIECE = 32  # pixels of a row that are counted together, where two layers both hold an object
AT_ONCE = 1 << 14  # pieces


class Overlap(NamedTuple):
    """Areas of objects and what they share, int64 on the CPU; memory grows with N + M + P.

    Attributes:
        found_area: [N] judged pixels of each object of the result.
        true_area: [M] judged pixels of each object of the truth.
        ignored_area: [N] pixels of each object of the result that are not judged.
        pairs: [P, 2] indices of an object of the result and one of the truth that share pixels.
        shared: [P] how many.
    """

    found_area: Tensor
    true_area: Tensor
    ignored_area: Tensor
    pairs: Tensor
    shared: Tensor

    @property
    def iou(self) -> Tensor:
        """[P] float64, intersection over union within what is judged."""
        found, true = self.pairs.T
        either = self.found_area[found] + self.true_area[true] - self.shared
        return self.shared.double() / either

    @property
    def spared(self) -> Tensor:
        """[N] bool, objects of the result of which more than half is not judged."""
        return self.ignored_area > self.found_area


def overlap(result: LabelLayers, truth: LabelLayers, ignored: Tensor | None = None) -> Overlap:
    """Lay the objects of a result over those of the truth.

    Args:
        result: N objects, in any number of layers, each object in one of them.
        truth: M objects, likewise, of the same spatial shape.
        ignored: [*S] bool, True where nothing is judged.

    Raises ValueError when the shapes differ.
    """
    shapes = [list(layers.maps.shape[1:]) for layers in (result, truth)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"result and truth: expected one shape, got {shapes[0]} and {shapes[1]}")
    judged, true, ignored_area = result.maps, truth.maps, _zeros(len(result))
    if ignored is not None:
        ignored_area = _Pieces.of(judged.masked_fill(~ignored, 0)).areas(len(result))
        judged, true = (maps.masked_fill(ignored, 0) for maps in (judged, true))
    ours, theirs = _Pieces.of(judged), _Pieces.of(true)
    pairs = ours.pairs(theirs)
    areas = ours.areas(len(result)), theirs.areas(len(truth)), ignored_area
    return Overlap(*areas, pairs[:, :2] - 1, pairs[:, 2])


def overlap_of_maps(
    blocks: Iterable[tuple[Tensor, Tensor]],
) -> tuple[Overlap, Tensor, Tensor]:
    """Lay a map of ids over another, block by block: volumes larger than memory.

    Args:
        blocks: (result, truth), each of equal shape and any integer ids, 0 being background. An
            object may lie in several blocks; every pixel is in one.

    Returns the overlap, and [N] and [M] the ids of its objects, ascending. Raises ValueError when
    the maps of a block differ in shape.
    """
    tables = [torch.stack(mask_overlap(found, true)).cpu() for found, true in blocks]
    found, true, shared = torch.cat([torch.empty(3, 0, dtype=torch.int64), *tables], 1)
    zero = torch.zeros(1, dtype=torch.int64)  # background is always the first
    found_ids, found = torch.cat([zero, found]).unique(return_inverse=True)
    true_ids, true = torch.cat([zero, true]).unique(return_inverse=True)
    if min(int(found_ids[0]), int(true_ids[0])) < 0:
        raise ValueError("maps of ids: expected 0 for background and ids above it, got negative")
    areas = [
        _zeros(len(ids)).index_add_(0, part, shared)[1:]
        for ids, part in ((found_ids, found[1:]), (true_ids, true[1:]))
    ]
    pairs = _summed(torch.stack([found[1:], true[1:], shared], 1))
    shape = areas[0], areas[1], _zeros(len(areas[0]))
    return Overlap(*shape, pairs[:, :2] - 1, pairs[:, 2]), found_ids[1:], true_ids[1:]


class _Pieces(NamedTuple):
    """Layers cut into short rows of pixels, most of which hold no object in most layers.

    Attributes:
        values: [K, C, PIECE] numbers of objects, 0 for background.
        held: [K, C] bool, where there is an object.
    """

    values: Tensor
    held: Tensor

    @classmethod
    def of(cls, maps: Tensor) -> _Pieces:
        """Cut maps [K, *S]."""
        flat = maps.flatten(1)
        rest = -flat.shape[1] % PIECE
        values = (pad(flat, (0, rest)) if rest else flat).unflatten(1, (-1, PIECE))
        return cls(values, values.amax(-1) > 0)

    def areas(self, count: int) -> Tensor:
        """[count] pixels of each object."""
        areas = _zeros(count + 1)
        for part in self.held.flatten().nonzero()[:, 0].split(AT_ONCE):
            own = self._take(part)
            number, _, pixels = (x.cpu() for x in mask_overlap(own, own))
            areas.index_add_(0, number, pixels)
        return areas[1:]

    def pairs(self, other: _Pieces) -> Tensor:
        """[P, 3] two objects that share pixels, and how many."""
        tables = []
        for part in (self.held[:, None] & other.held).nonzero().split(AT_ONCE):
            i, j, c = part.unbind(1)
            width = self.held.shape[1]
            table = mask_overlap(self._take(i * width + c), other._take(j * width + c))
            tables.append(torch.stack(table, 1).cpu())
        return _summed(torch.cat([_zeros(0, 3), *tables]))

    def _take(self, numbers: Tensor) -> Tensor:
        return self.values.flatten(0, 1).index_select(0, numbers)


def _summed(table: Tensor) -> Tensor:
    """Add up the rows [P, 3] of each pair of two objects; rows with background are left out."""
    table = table[(table[:, 0] > 0) & (table[:, 1] > 0)]
    pairs, where = table[:, :2].unique(dim=0, return_inverse=True)
    return torch.cat([pairs, _zeros(len(pairs), 1).index_add_(0, where, table[:, 2:])], 1)


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64)
