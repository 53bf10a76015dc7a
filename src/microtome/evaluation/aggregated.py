"""Numbers that weigh objects by their pixels: AJI, AJI+ and Dice over objects.

N objects of the result, M of the truth, P pairs that share a pixel, K classes, R = 1 + K rows.

AJI: Kumar et al., 2017; AJI+: Graham et al., 2019; Dice over objects: Sirinukunwattana et al., 2017
(the GlaS challenge).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from torch import Tensor

from .instance_scores import Pair, rows_of
from .overlap import Overlap

Indices = npt.NDArray[np.int64]


class Areas(NamedTuple):
    """Pixels of objects laid upon each other; those of images add up.

    Row 0 is for objects whatever their class, row 1 + k for those of class k.

    Attributes:
        shared: [R, 2] float64, of paired objects, for AJI and AJI+.
        joined: [R, 2] float64, of either object of a pair, and of all that are in none.
        alike: [R, 2] float64, the Dice of each object of the truth, of the result, times its area.
        whole: [R, 2] float64, the areas of the objects of the truth, of the result.
    """

    shared: Tensor
    joined: Tensor
    alike: Tensor
    whole: Tensor


def areas(overlap: Overlap, found_labels: Tensor, true_labels: Tensor, count: int) -> Areas:
    """Sum the pixels of one image; classes [N] and [M] in 0…K-1.

    An unpaired object of the result of which more than half is ignored is not there.
    """
    sums = Areas(*torch.zeros(4, 1 + count, 2, dtype=torch.float64))
    for rows in rows_of(found_labels, true_labels):
        _add(sums, overlap, rows)
    return sums


def area_numbers(sums: Areas) -> dict[str, Tensor]:
    """`aji`, `aji_plus` and `object_dice`, each [..., R]; nan without any object."""
    quotient = sums.shared / sums.joined
    one_sided = sums.alike / sums.whole.clamp(min=1)
    dice = one_sided.mean(-1)
    dice[sums.whole.sum(-1) == 0] = torch.nan
    return {"aji": quotient[..., 0], "aji_plus": quotient[..., 1], "object_dice": dice}


def _add(sums: Areas, overlap: Overlap, rows: Pair) -> None:
    found_rows, true_rows = rows
    allowed = found_rows[overlap.pairs[:, 0]] == true_rows[overlap.pairs[:, 1]]
    chosen = allowed.nonzero().flatten()
    found, true = overlap.pairs[chosen].T
    iou, shared = overlap.iou[chosen], overlap.shared[chosen]
    best = chosen[_best(true, iou)]
    for column, pairs in enumerate((best, chosen[_assigned(found, true, iou)])):
        _aggregate(sums, overlap, rows, pairs, column)
    sides = ((true, true_rows, overlap.true_area), (found, found_rows, overlap.found_area))
    for side, (own, own_rows, area) in enumerate(sides):
        most = _best(own, shared)
        pair = chosen[most]
        both = (
            overlap.found_area[overlap.pairs[pair, 0]] + overlap.true_area[overlap.pairs[pair, 1]]
        )
        dice = 2 * overlap.shared[pair].double() / both
        sums.alike[:, side].index_add_(0, own_rows[own[most]], dice * area[own[most]])
        there = torch.ones_like(area, dtype=torch.bool)
        if side == 1:
            there = ~overlap.spared
            there[own] = True
        sums.whole[:, side].index_add_(0, own_rows[there], area[there].double())


def _aggregate(sums: Areas, overlap: Overlap, rows: Pair, pairs: Tensor, column: int) -> None:
    """Add the pixels shared by pairs; to the joined ones also those of objects in no pair."""
    (found, true), (found_rows, true_rows) = overlap.pairs[pairs].T, rows
    shared = overlap.shared[pairs].double()
    sums.shared[:, column].index_add_(0, true_rows[true], shared)
    joined = sums.joined[:, column]
    either = overlap.found_area[found] + overlap.true_area[true] - shared
    joined.index_add_(0, true_rows[true], either)
    missed = torch.ones_like(overlap.true_area, dtype=torch.bool)
    missed[true] = False
    joined.index_add_(0, true_rows[missed], overlap.true_area[missed].double())
    spurious = ~overlap.spared
    spurious[found] = False
    joined.index_add_(0, found_rows[spurious], overlap.found_area[spurious].double())


def _best(objects: Tensor, values: Tensor) -> Tensor:
    """Of pairs with objects [E] the first with the highest value for each object: their indices."""
    order = np.lexsort((-np.arange(len(values)), values.numpy(), objects.numpy()))
    last = np.flatnonzero(np.diff(objects.numpy()[order], append=-1))
    return torch.from_numpy(order[last])


def _assigned(found: Tensor, true: Tensor, iou: Tensor) -> Tensor:
    """Choose among pairs [E], each object once, those whose IoU is the highest in sum.

    Every object of the result also has a place of its own, worth nothing, so that an assignment of
    all exists; memory grows with pairs.
    """
    if not len(iou):
        return torch.zeros(0, dtype=torch.int64)
    rows, columns = (np.unique(side.numpy(), return_inverse=True)[1] for side in (found, true))
    height, width = rows.max() + 1, columns.max() + 1
    own = np.arange(height)
    cost = np.concatenate([2 - iou.numpy(), np.full(height, 2.0)])
    places = np.concatenate([rows, own]), np.concatenate([columns, width + own])
    shape = (height, width + height)
    row, column = min_weight_full_bipartite_matching(coo_array((cost, places), shape=shape).tocsr())
    wanted = row[column < width] * width + column[column < width]
    return torch.from_numpy(np.flatnonzero(np.isin(rows * width + columns, wanted)))
