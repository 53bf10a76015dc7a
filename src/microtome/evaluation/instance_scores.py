"""Matched, spurious and missed objects, and the numbers that follow from them.

N objects of the result, M of the truth, P pairs that share a pixel, K classes, T thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .instance_matching import match
from .overlap import Overlap

THRESHOLDS = (0.5, 0.75, 0.9)
PANOPTIC = 0.5  # panoptic quality takes pairs whose IoU is above it, not equal


class Tally(NamedTuple):
    """How many objects were matched and were not; tallies of images add up.

    Row 0 is for objects whatever their class, row 1 + k for those of class k. Column 0 is the
    matching of panoptic quality (IoU > 0.5), column 1 + t that of threshold t (IoU >= t).

    Attributes:
        matched: [1 + K, 1 + T] int64.
        spurious: [1 + K, 1 + T] int64, objects of the result alone.
        missed: [1 + K, 1 + T] int64, objects of the truth alone.
        quality: [1 + K] float64, the sum of the IoU of what is matched in column 0.
    """

    matched: Tensor
    spurious: Tensor
    missed: Tensor
    quality: Tensor

    @classmethod
    def empty(cls, count: int, thresholds: int) -> Tally:
        """Nothing yet, for K and T."""
        zeros = torch.zeros(1 + count, 1 + thresholds, dtype=torch.int64)
        return cls(zeros, zeros.clone(), zeros.clone(), zeros[:, 0].double())


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
    sums = Tally.empty(count, len(thresholds))
    found_labels, true_labels = found_labels.cpu().long(), true_labels.cpu().long()
    _count(sums, overlap, (0 * found_labels, 0 * true_labels), thresholds)
    _count(sums, overlap, (1 + found_labels, 1 + true_labels), thresholds)
    return sums


def instance_scores(
    sums: Tally, names: Mapping[int, str], thresholds: Sequence[float] = THRESHOLDS
) -> dict[str, float]:
    """Turn a tally into numbers between 0 and 1.

    PQ = SQ * RQ is panoptic quality (Kirillov et al., 2019): SQ the mean IoU of matched objects,
    RQ their F1 score. `ap_dsb@t` is TP / (TP + FP + FN) as in the 2018 Data Science Bowl, StarDist
    and Cellpose; it is not COCO's AP. With no object in truth and result all numbers are nan; with
    none matched, SQ is nan and all others that exist are 0; precision is nan without a result,
    recall without a truth.

    Args:
        sums: of one or many images.
        names: class index to name, of the classes to report.
        thresholds: those of the tally.

    Returns `pq, sq, rq` and for each threshold `ap_dsb@t, f1@t, precision@t, recall@t` of objects
    whatever their class, the same with `/NAME` for each class, and with `mean_` before them their
    means over the classes where they are not nan.
    """
    columns = _numbers(sums, thresholds)
    numbers = {key: float(values[0]) for key, values in columns.items()}
    rows = torch.tensor([1 + index for index in names], dtype=torch.int64)
    numbers |= {f"mean_{key}": float(values[rows].nanmean()) for key, values in columns.items()}
    return numbers | {
        f"{key}/{name}": float(values[1 + index])
        for key, values in columns.items()
        for index, name in names.items()
    }


def _numbers(sums: Tally, thresholds: Sequence[float]) -> dict[str, Tensor]:
    """Each number for every row [1 + K] of the tally."""
    matched, spurious, missed = (x.cpu().double() for x in sums[:3])
    quality, either = sums.quality.cpu(), matched + spurious + missed
    f1 = 2 * matched / (matched + either)
    columns = {"pq": 2 * quality / (matched + either)[:, 0], "sq": quality / matched[:, 0]}
    columns["rq"] = f1[:, 0]
    parts = {
        "ap_dsb": matched / either,
        "f1": f1,
        "precision": matched / (matched + spurious),
        "recall": matched / (matched + missed),
    }
    return columns | {
        f"{key}@{threshold:g}": values[:, 1 + t]
        for key, values in parts.items()
        for t, threshold in enumerate(thresholds)
    }


def _count(
    sums: Tally, overlap: Overlap, rows: tuple[Tensor, Tensor], thresholds: Sequence[float]
) -> None:
    """Match objects of equal rows and count them there, for every column."""
    found_rows, true_rows = rows
    allowed = found_rows[overlap.pairs[:, 0]] == true_rows[overlap.pairs[:, 1]]
    spared = overlap.ignored_area > overlap.found_area
    for column, threshold in enumerate((PANOPTIC, *thresholds)):
        pairs = match(overlap, threshold, allowed)
        if column == 0:
            pairs = pairs[overlap.iou[pairs] > PANOPTIC]
        found, true = overlap.pairs[pairs].T
        spurious = (overlap.found_area > 0) & ~spared
        spurious[found] = False
        missed = overlap.true_area > 0
        missed[true] = False
        for counts, of in (
            (sums.matched, found_rows[found]),
            (sums.spurious, found_rows[spurious]),
            (sums.missed, true_rows[missed]),
        ):
            counts[:, column] += of.bincount(minlength=len(counts))
        if column == 0:
            sums.quality.index_add_(0, found_rows[found], overlap.iou[pairs])


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
