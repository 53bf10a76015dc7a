"""Which objects of a result lie on which of the truth: the sparse table all object metrics read.

N objects of the result, M of the truth, P pairs that share a pixel, *S the spatial shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ..ops.layer_overlap import layer_overlap
from ..ops.mask_overlap import mask_overlap
from ..structures import LabelLayers


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
    true = truth.maps if ignored is None else truth.maps.masked_fill(ignored, 0)
    table = _objects(layer_overlap(result.maps, true), len(result), len(truth))
    if ignored is None:
        return table
    hidden = _objects(layer_overlap(result.maps, ignored[None]), len(result), 1)
    hidden_area = _zeros(len(result)).index_put_((hidden.pairs[:, 0],), hidden.shared)
    judged_area = table.found_area - hidden_area
    return table._replace(found_area=judged_area, ignored_area=hidden_area)


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


def _objects(table: tuple[Tensor, Tensor, Tensor], count: int, true_count: int) -> Overlap:
    """From the rows of `layer_overlap`, objects being 1…count."""
    found, true, pixels = (part.cpu() for part in table)
    area = _zeros(count + 1).index_put_((found[true == 0],), pixels[true == 0])
    true_area = _zeros(true_count + 1).index_put_((true[found == 0],), pixels[found == 0])
    both = (found > 0) & (true > 0)
    pairs = torch.stack([found, true], 1)[both] - 1
    return Overlap(area[1:], true_area[1:], _zeros(count), pairs, pixels[both])


def _summed(table: Tensor) -> Tensor:
    """Add up the rows [P, 3] of each pair of two objects; rows with background are left out."""
    table = table[(table[:, 0] > 0) & (table[:, 1] > 0)]
    pairs, where = table[:, :2].unique(dim=0, return_inverse=True)
    return torch.cat([pairs, _zeros(len(pairs), 1).index_add_(0, where, table[:, 2:])], 1)


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64)
