"""COCO's judgement of the detections of an image, in any number of axes: right, wrong or neither.

The definition is that of pycocotools (Lin et al., 2014): detections of a class, best score first,
each take the free object of the truth with the highest IoU. Sizes are areas in 2D, volumes in 3D.

N objects of the result, M of the truth, D detections, K classes, R = 1 + K rows, A ranges of size,
T thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .coco_matching import Integers, partners
from .instance_scores import Pair, rows_of
from .overlap import Overlap

THRESHOLDS = np.linspace(0.5, 0.95, 10)
Flags = npt.NDArray[np.bool_]


class Detections(NamedTuple):
    """What became of the detections of one image: once whatever their class, once by class.

    Attributes:
        scores: [D] float64; nan where the result has none.
        rows: [D] 0 whatever the class, 1 + k within class k; every object stands in both.
        hit: [D, A, T] bool, matched.
        void: [D, A, T] bool, neither right nor wrong.
        there: [R, A] int64, objects of the truth.
    """

    scores: Tensor
    rows: Tensor
    hit: Tensor
    void: Tensor
    there: Tensor

    @classmethod
    def empty(cls, rows: int, ranges: int) -> Detections:
        """Of an image without objects, for R and A."""
        none = torch.zeros(0, ranges, len(THRESHOLDS), dtype=torch.bool)
        zeros = torch.zeros(0, dtype=torch.int64)
        return cls(zeros.double(), zeros, none, none, torch.zeros(rows, ranges, dtype=torch.int64))


def detections(
    overlap: Overlap,
    found: tuple[Tensor, Tensor | None],
    true: tuple[Tensor, Tensor | None],
    count: int,
    *,
    bounds: Sequence[float] = (),
    cap: int | None = None,
) -> Detections:
    """Match the detections of one image.

    Args:
        overlap: of the image.
        found: labels [N] and scores [N] of the result.
        true: labels [M] of the truth, and [M] bool, which of its objects are crowds: regions in
            which detections are neither right nor wrong. None: there is none.
        count: K.
        bounds: areas (volumes) where sizes part, ascending. Range 0 is for all, 1… for each size.
        cap: how many detections of an image and class count, the best first; all when None.

    Pixels that are ignored are a crowd of every class.
    """
    edges = (0.0, *bounds, np.inf)
    ranges = [(0.0, np.inf), *(pairwise(edges) if bounds else ())]
    crowd = torch.zeros(len(true[0]), dtype=torch.bool) if true[1] is None else true[1].cpu()
    scores = torch.full((len(found[0]),), torch.nan) if found[1] is None else found[1]
    task = _Task(overlap, scores.double().cpu(), crowd, ranges, cap, 1 + count)
    anyhow, by_class = rows_of(found[0], true[0])
    whole = task.judge(anyhow)
    kinds = torch.cat(by_class).unique()
    if len(kinds) == 1:  # of one class: all was said
        there = torch.zeros_like(whole.there)
        there[kinds] = whole.there[:1]
        part = whole._replace(rows=whole.rows + kinds, there=there)
    else:
        part = task.judge(by_class)
    scores, marks, hit, void = (torch.cat(pair) for pair in zip(whole[:4], part[:4], strict=True))
    return Detections(scores, marks, hit, void, whole.there + part.there)


class _Task(NamedTuple):
    overlap: Overlap
    scores: Tensor
    crowd: Tensor
    ranges: Sequence[tuple[float, float]]
    cap: int | None
    height: int  # R

    def judge(self, rows: Pair) -> Detections:
        """Match objects of equal rows."""
        overlap, (found_rows, true_rows) = self.overlap, rows
        area = overlap.found_area + overlap.ignored_area
        order = self.scores.argsort(descending=True, stable=True)
        order = order[area[order] > 0]
        order = order if self.cap is None else order[_rank(found_rows[order]) < self.cap]
        none = (overlap.true_area == 0).numpy()
        void_truth = _outside(overlap.true_area, self.ranges) | self.crowd.numpy() | none
        partner = self._partners(rows, order, area, void_truth)
        hit, at = partner >= 0, np.arange(len(self.ranges))[:, None, None]
        ignored = (overlap.ignored_area.double() / area.clamp(min=1))[order].numpy()
        void = _outside(area[order], self.ranges)[:, None] | (ignored >= THRESHOLDS[:, None])
        if void_truth.shape[1]:
            void = np.where(hit, void_truth[at, partner], void)
        there = [
            true_rows[torch.from_numpy(~away)].bincount(minlength=self.height)
            for away in void_truth
        ]
        hits, voids = (torch.from_numpy(x.transpose(2, 0, 1).copy()) for x in (hit, void))
        kept = self.scores[order], found_rows[order]
        return Detections(*kept, hits, voids, torch.stack(there, 1))

    def _partners(self, rows: Pair, order: Tensor, area: Tensor, void: Flags) -> Integers:
        """[A, T, D] the object that each detection gets; the overlap with a crowd is what it covers
        of the detection."""
        overlap, (found_rows, true_rows) = self.overlap, rows
        rank = torch.full_like(found_rows, -1)
        rank[order] = torch.arange(len(order))
        found, true = overlap.pairs.T
        covered = overlap.shared.double() / area[found]
        fits = torch.where(self.crowd[true], covered, overlap.iou)
        own = (found_rows[found] == true_rows[true]) & (rank[found] >= 0) & (fits >= THRESHOLDS[0])
        edges = rank[found[own]].numpy(), true[own].numpy(), fits[own].numpy()
        return partners(edges, len(order), (void, self.crowd.numpy()), THRESHOLDS)


def _rank(rows: Tensor) -> Tensor:
    """How many before each are of its row."""
    order = rows.argsort(stable=True)
    first = torch.searchsorted(rows[order], rows[order])
    rank = torch.empty_like(rows)
    rank[order] = torch.arange(len(rows)) - first
    return rank


def _outside(areas: Tensor, ranges: Sequence[tuple[float, float]]) -> Flags:
    """[A, N] which areas lie outside each range, its ends included."""
    low, high = np.array(ranges).T[..., None]
    return np.asarray((areas.numpy() < low) | (areas.numpy() > high))
