"""COCO's average precision of what became of detections.

The definition is that of pycocotools (Lin et al., 2014): detections of a class in the order of
their scores; precision is averaged over 101 recalls, IoU from 0.5 to 0.95, and classes.

D detections, R = 1 + K rows, A ranges of size, T thresholds, W weightings of the images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .coco import THRESHOLDS, Detections

RECALLS = np.linspace(0, 1, 101)
TINY = np.spacing(1)
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]


def coco_numbers(images: Sequence[Detections], weights: Tensor, sized: bool) -> dict[str, Tensor]:
    """Average precision of images that count several times: each number [W, R].

    Args:
        images: at least one.
        weights: [W, images] how often each image counts.
        sized: give the numbers of each size: [W, R, A - 1]; else those of all sizes.

    Returns `coco_ap`, and `coco_ap50` and `coco_ap75` at an IoU of 0.5 and 0.75; nan without
    objects of the truth, and for detections without scores.
    """
    ap = _average_precision(images, weights.double().numpy(), sized)
    ap = ap if sized else ap[:, :, 0]
    return {"coco_ap": ap.mean(-1), "coco_ap50": ap[..., 0], "coco_ap75": ap[..., 5]}


def _average_precision(images: Sequence[Detections], weights: Numbers, sized: bool) -> Tensor:
    """[W, R, A, T], or [W, R, 1, T] of all sizes."""
    ranges = slice(1, None) if sized else slice(0, 1)
    each = np.stack([image.there.numpy() for image in images])
    there = np.tensordot(weights, each[:, :, ranges], 1)
    scores, rows = (np.concatenate([image[i].numpy() for image in images]) for i in (0, 1))
    hit, void = (np.concatenate([x[i][:, ranges].numpy() for x in images]) for i in (2, 3))
    image = np.repeat(np.arange(len(images)), [len(one.scores) for one in images])
    ap = np.full((*there.shape, len(THRESHOLDS)), np.nan)
    for row in range(there.shape[1]):
        own = np.flatnonzero(rows == row)
        if row and 2 * len(own) == len(rows) and (each[:, row] == each[:, 0]).all():
            ap[:, row] = ap[:, 0]  # all objects are of this class
            continue
        if np.isnan(scores[own]).any():
            continue
        own = own[np.argsort(-scores[own], kind="stable")]
        right = (hit[own] & ~void[own]).transpose(1, 2, 0).copy()
        wrong = ~(hit[own] | void[own]).transpose(1, 2, 0).copy()
        for number, weight in enumerate(weights):
            here = weight[image[own]]
            for a in np.flatnonzero(there[number, row]):
                ap[number, row, a] = _area(right[a], wrong[a], here, there[number, row, a])
    return torch.from_numpy(ap)


def _area(right: Flags, wrong: Flags, weights: Numbers, there: float) -> Numbers:
    """[T] the mean precision over recalls, of detections [T, D] in the order of their scores.

    Precision falls from one that is right to the next: the others are only counted.
    """
    means = []
    for hits, spurious in zip(right, (wrong * weights).cumsum(1), strict=True):
        at = np.flatnonzero(hits)
        found = weights[at].cumsum()
        precision = found / (found + spurious[at] + TINY)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        reached = np.searchsorted(found / there, RECALLS)
        means.append(best[reached[reached < len(best)]].sum() / len(RECALLS))
    return np.array(means)
