"""Which objects of a result lie on which of the truth: the sparse table all object metrics read.

N objects of the result, M of the truth, P pairs that share a pixel, *S the spatial shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ..ops.mask_overlap import mask_overlap
from ..structures import LabelLayers

IGNORED = -1  # stands in a map of the truth where nothing is judged


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
    counts = _Counts(len(result), len(truth))
    for j, true in enumerate(truth.maps.to(torch.int32)):
        true = true if ignored is None else true.masked_fill(ignored, IGNORED)
        for i, found in enumerate(result.maps.to(torch.int32)):
            counts.add(mask_overlap(found, true), first=(i == 0, j == 0))
    return counts.overlap()


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
    counts = _Counts(len(found_ids) - 1, len(true_ids) - 1)
    pair, where = (found[1:] * len(true_ids) + true[1:]).unique(return_inverse=True)
    summed = torch.zeros_like(pair).index_add_(0, where, shared)
    counts.add((pair // len(true_ids), pair % len(true_ids), summed), first=(True, True))
    return counts.overlap(), found_ids[1:], true_ids[1:]


class _Counts:
    """Adds up what `mask_overlap` says of maps holding 0, 1…N and IGNORED, 0, 1…M."""

    def __init__(self, found: int, true: int) -> None:
        self.found, self.true = _zeros(2, found + 1), _zeros(true + 1)
        self.pairs: list[Tensor] = []

    def add(self, table: tuple[Tensor, Tensor, Tensor], first: tuple[bool, bool]) -> None:
        """Add a table of two layers; `first`: whether that of the result, of the truth, is one.

        Areas are taken from tables with the first layer of the other side, so none counts twice.
        """
        new_truth, new_found = first
        found, true, count = (part.cpu() for part in table)
        judged = true != IGNORED
        if new_found:
            self.found[0].index_add_(0, found[judged], count[judged])
            self.found[1].index_add_(0, found[~judged], count[~judged])
        if new_truth:
            self.true.index_add_(0, true[judged], count[judged])
        both = (found > 0) & (true > 0)
        self.pairs.append(torch.stack([found, true, count], 1)[both])

    def overlap(self) -> Overlap:
        pairs = torch.cat([_zeros(0, 3), *self.pairs])
        judged, ignored = self.found[:, 1:]
        return Overlap(judged, self.true[1:], ignored, pairs[:, :2] - 1, pairs[:, 2])


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64)
