"""From the objects of all tiles to those of the image: each whole from one tile, or joined.

What is decided here depends on the tables alone, not on the order in which tiles were predicted.

1. An object that no border cuts is taken whole, from the tile in which its centre lies deepest;
   what other tiles saw of it is dropped.
2. What a border cuts and no whole object covers belongs to something larger than the overlap: such
   pieces are joined when, where their tiles overlap, each holds more than half of the other.
3. An object whose centre another tile sees better, and which no other tile saw at all, is dropped.

N rows, M pairs, G objects.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .evidence import Pairs
from .fragments import Rows
from .runs import Integers

Flags = npt.NDArray[np.bool_]


class Objects(NamedTuple):
    """The objects of an image: object i has the id i + 1, in the order of their first pixels.

    Attributes:
        labels: [G] class.
        scores: [G] float32; of joined pieces the mean, weighted by area.
    """

    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


class Joined(NamedTuple):
    """What becomes of each row.

    Attributes:
        ids: [N] int64, the object it is painted as; 0 for none.
        objects: one per id.
    """

    ids: npt.NDArray[np.int64]
    objects: Objects


def join(rows: Rows, pairs: Pairs, failed: Integers) -> Joined:
    """Decide what is an object.

    Args:
        rows: [N] of all tiles, in the order of their numbers.
        pairs: [M] what overlapping tiles say of each other.
        failed: numbers of tiles that could not be read, whose silence means nothing.
    """
    a, b, count = pairs["a"], pairs["b"], pairs["count"].astype(np.int64)
    area, cut = rows["area"], rows["cut"]
    same = 2 * count > np.minimum(area[a], area[b])
    seen = np.zeros(len(rows), np.bool_)
    for side in (a, b):
        seen[side[same | pairs["alike"]]] = True
    own = (rows["owner"] == rows["tile"]) | np.isin(rows["owner"], failed)
    possible = (area > 0) & (own | seen)
    whole = possible & ~cut
    whole &= ~_repeated(rows, pairs[same & whole[a] & whole[b]])
    covered = np.zeros(len(rows), np.int64)
    for one, other in ((a, b), (b, a)):
        np.add.at(covered, one, count * whole[other])
    pieces = possible & cut & (2 * covered <= area)
    links = pairs[pairs["alike"] & pieces[a] & pieces[b]]
    return _numbered(rows, whole | pieces, links)


def _repeated(rows: Rows, pairs: Pairs) -> Flags:
    """Which whole objects another tile saw deeper: greedily, the deepest first.

    All that nothing undecided stands before are decided at once, as one by one would do it.
    """
    repeated = np.zeros(len(rows), np.bool_)
    place = np.empty(len(rows), np.int64)
    place[np.lexsort((np.arange(len(rows)), -rows["depth"]))] = np.arange(len(rows))
    a, b = pairs["a"].astype(np.int64), pairs["b"].astype(np.int64)
    while len(a):
        foremost = place.copy()
        np.minimum.at(foremost, a, place[b])
        np.minimum.at(foremost, b, place[a])
        kept = foremost == place
        repeated[b[kept[a]]] = True
        repeated[a[kept[b]]] = True
        open_ = ~(kept[a] | kept[b] | repeated[a] | repeated[b])
        a, b = a[open_], b[open_]
    return repeated


def _numbered(rows: Rows, kept: Flags, links: Pairs) -> Joined:
    """Join linked rows, and count objects in the order of their first pixels."""
    count = len(rows)
    ids = np.zeros(count, np.int64)
    index = np.flatnonzero(kept)
    if not len(index):
        return Joined(ids, Objects(np.zeros(0, np.int64), np.zeros(0, np.float32)))
    graph = coo_array((np.ones(len(links), np.bool_), (links["a"], links["b"])), (count, count))
    group = connected_components(graph, directed=False)[1][index]
    order = np.argsort(rows["first"][index], kind="stable")
    _, first, inverse = np.unique(group[order], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    ids[index[order]] = rank[inverse]
    return Joined(ids, _objects(rows[index], ids[index], len(first)))


def _objects(rows: Rows, ids: Integers, count: int) -> Objects:
    """Of each object the class that most of its area has, and its mean score."""
    area = rows["area"]
    total = np.bincount(ids, area, count + 1)[1:]
    scores = np.bincount(ids, area * rows["score"].astype(np.float64), count + 1)[1:] / total
    order = np.lexsort((rows["label"], ids))
    ids, labels, area = ids[order], rows["label"][order], area[order]
    starts = np.flatnonzero(np.r_[True, (ids[1:] != ids[:-1]) | (labels[1:] != labels[:-1])])
    votes, ids, labels = np.add.reduceat(area, starts), ids[starts], labels[starts]
    best = np.lexsort((labels, -votes, ids))
    winners = best[np.r_[True, np.diff(ids[best]) > 0]]
    return Objects(labels[winners].astype(np.int64), scores.astype(np.float32))
