"""Matched, spurious and missed objects, and the numbers that follow from them.

N objects of the result, M of the truth, P pairs that share a pixel, K classes, T thresholds, R rows
of a table, `...` any number of tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .instance_matching import match
from .naming import named
from .overlap import Overlap

THRESHOLDS = (0.5, 0.75, 0.9)
PANOPTIC = 0.5  # panoptic quality takes pairs whose IoU is above it, not equal
Pair = tuple[Tensor, Tensor]  # something [N] of the result's objects and [M] of the truth's


class Tally(NamedTuple):
    """How many objects were matched and were not; tallies of images add up.

    Row 0 is for objects whatever their class, row 1 + k for those of class k; or there is a row for
    each size. Column 0 is the matching of panoptic quality (IoU > 0.5), column 1 + t that of
    threshold t (IoU >= t).

    Attributes:
        matched: [R, 1 + T] int64.
        spurious: [R, 1 + T] int64, objects of the result alone.
        missed: [R, 1 + T] int64, objects of the truth alone.
        quality: [R] float64, the sum of the IoU of what is matched in column 0.
        miscounted: [R] int64, by how many objects result and truth differ in number, of each image.
        images: [R] int64, how many images.
    """

    matched: Tensor
    spurious: Tensor
    missed: Tensor
    quality: Tensor
    miscounted: Tensor
    images: Tensor

    @classmethod
    def empty(cls, rows: int, thresholds: int) -> Tally:
        """Nothing yet, for R and T."""
        zeros = torch.zeros(rows, 1 + thresholds, dtype=torch.int64)
        column = zeros[:, 0]
        return cls(
            zeros, zeros.clone(), zeros.clone(), column.double(), column.clone(), column.clone()
        )


def tally(
    overlap: Overlap,
    found_labels: Tensor,
    true_labels: Tensor,
    count: int,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Tally:
    """Match the objects of one image, once whatever their class and once within each class.

    Args:
        overlap: of the image.
        found_labels: [N] class of each object of the result.
        true_labels: [M] class of each object of the truth.
        count: K.
        thresholds: T values of IoU in (0, 1].

    Objects without a judged pixel are not there. An object of the result that is not matched and
    of which more than half is ignored is not spurious. Raises ValueError for labels that are no
    class, and for other thresholds.
    """
    _check(found_labels, true_labels, count, thresholds)
    sums = Tally.empty(1 + count, len(thresholds))
    for rows in rows_of(found_labels, true_labels):
        _count(sums, overlap, rows, rows, thresholds)
    return _finished(sums)


def tally_of_sizes(
    overlap: Overlap, bounds: Sequence[float], thresholds: Sequence[float] = THRESHOLDS
) -> Tally:
    """Match objects whatever their class and count them by size, a row for each.

    A match counts as large as the object of the truth; an object of the result alone has its own
    size. `bounds` are the areas (volumes) where sizes part, ascending; equal ones are below.
    """
    sums = Tally.empty(len(bounds) + 1, len(thresholds))
    areas = (overlap.found_area, overlap.true_area)
    edges = torch.tensor(bounds, dtype=torch.float64)
    found, true = (torch.bucketize(area.double(), edges) for area in areas)
    _count(sums, overlap, (0 * found, 0 * true), (found, true), thresholds)
    return _finished(sums)


def rows_of(found_labels: Tensor, true_labels: Tensor) -> tuple[Pair, Pair]:
    """The rows of objects in tables like `Tally`: 0 whatever their class, then 1 + class."""
    found, true = (labels.cpu().long() for labels in (found_labels, true_labels))
    return (0 * found, 0 * true), (1 + found, 1 + true)


def instance_scores(
    sums: Tally, names: Mapping[int, str], thresholds: Sequence[float] = THRESHOLDS
) -> dict[str, float]:
    """Turn a tally into numbers, most of them between 0 and 1.

    PQ = SQ * RQ is panoptic quality (Kirillov et al., 2019): SQ the mean IoU of matched objects,
    RQ their F1 score. `ap_dsb@t` is TP / (TP + FP + FN) as in the 2018 Data Science Bowl, StarDist
    and Cellpose; it is not COCO's AP. With no object in truth and result all numbers are nan; with
    none matched, SQ is nan and all others that exist are 0; precision is nan without a result,
    recall without a truth. `count_error` is by how many objects an image's result differs from its
    truth, in the mean over images; `count_bias` the same with its sign.

    Args:
        sums: of one or many images.
        names: class index to name, of the classes to report.
        thresholds: those of the tally.

    Returns `pq, sq, rq, count_error, count_bias` and for each threshold `ap_dsb@t, f1@t,
    precision@t, recall@t` of objects whatever their class, the same with `/NAME` for each class,
    and with `mean_` before them their means over the classes where they are not nan.
    """
    numbers = named(tally_numbers(sums, thresholds), names)
    return {key: float(value) for key, value in numbers.items()}


def tally_numbers(sums: Tally, thresholds: Sequence[float]) -> dict[str, Tensor]:
    """Each number of `instance_scores` for every row: [..., R] of tallies [..., R, 1 + T]."""
    matched, spurious, missed = (x.cpu().double() for x in sums[:3])
    quality, either = sums.quality.cpu(), matched + spurious + missed
    f1 = 2 * matched / (matched + either)
    columns = {"pq": 2 * quality / (matched + either)[..., 0], "sq": quality / matched[..., 0]}
    columns["rq"] = f1[..., 0]
    parts = {
        "ap_dsb": matched / either,
        "f1": f1,
        "precision": matched / (matched + spurious),
        "recall": matched / (matched + missed),
    }
    columns |= {
        f"{key}@{threshold:g}": values[..., 1 + t]
        for key, values in parts.items()
        for t, threshold in enumerate(thresholds)
    }
    columns["count_error"] = sums.miscounted / sums.images
    columns["count_bias"] = (spurious - missed)[..., 0] / sums.images
    return columns


def _count(
    sums: Tally, overlap: Overlap, kinds: Pair, rows: Pair, thresholds: Sequence[float]
) -> None:
    """Match objects of equal kind and count them in their rows, for every column."""
    (found_kinds, true_kinds), (found_rows, true_rows) = kinds, rows
    allowed = found_kinds[overlap.pairs[:, 0]] == true_kinds[overlap.pairs[:, 1]]
    for column, threshold in enumerate((PANOPTIC, *thresholds)):
        pairs = match(overlap, threshold, allowed)
        if column == 0:
            pairs = pairs[overlap.iou[pairs] > PANOPTIC]
        found, true = overlap.pairs[pairs].T
        spurious = (overlap.found_area > 0) & ~overlap.spared
        spurious[found] = False
        missed = overlap.true_area > 0
        missed[true] = False
        for counts, of in (
            (sums.matched, true_rows[true]),
            (sums.spurious, found_rows[spurious]),
            (sums.missed, true_rows[missed]),
        ):
            counts[:, column] += of.bincount(minlength=len(counts))
        if column == 0:
            sums.quality.index_add_(0, true_rows[true], overlap.iou[pairs])


def _finished(sums: Tally) -> Tally:
    """The tally of one image."""
    more = (sums.spurious - sums.missed)[:, 0]
    return sums._replace(miscounted=more.abs(), images=torch.ones_like(more))


def _check(found: Tensor, true: Tensor, count: int, thresholds: Sequence[float]) -> None:
    wrong = [
        f"{what} has objects of class {', '.join(str(v) for v in sorted(outside)[:10])}"
        for what, labels in (("the result", found), ("the truth", true))
        if (outside := {v for v in labels.tolist() if not 0 <= v < count})
    ]
    if wrong:
        wrong[-1] += f"; there are classes 0 to {count - 1}"
    wrong += [f"threshold {t} is not in (0, 1]" for t in thresholds if not 0 < t <= 1]
    if wrong:
        raise ValueError("; ".join(wrong))
