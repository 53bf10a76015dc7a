"""COCO's matching: detections choose in the order of their scores.

D detections, E pairs of a detection and an object of the truth, M objects, A ranges of size, T
thresholds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Edges = tuple[Integers, Integers, Numbers]


def partners(
    edges: Edges, count: int, objects: tuple[Flags, Flags], thresholds: Numbers
) -> Integers:
    """Give each detection the best object that is left.

    Args:
        edges: [E] detection (0 has the highest score), object and their IoU, each pair once.
        count: D.
        objects: [A, M] which are void in a range of size, and are taken only where no other is
            left; [M] which are crowds, and never used up.
        thresholds: T, ascending; no IoU is below the first one.

    Returns [A, T, D] the object, -1 where there is none.
    """
    (found, true, iou), (void, crowd) = edges, objects
    chosen = np.full((len(void), len(thresholds), count), -1)
    single = np.bincount(found, minlength=count)[found] == 1
    alone = single & ((np.bincount(true, minlength=len(crowd))[true] == 1) | crowd[true])
    reached = iou[alone] >= thresholds[:, None]
    chosen[:, :, found[alone]] = np.where(reached, true[alone], -1)
    rest = ~alone
    found, true, iou, single = (x[rest] for x in (found, true, iou, single))
    several = void[:, true[~single]]
    alike = bool((several == several[:1]).all())  # all ranges choose alike
    for a in range(1 if alike else len(void)):
        order = np.lexsort((-true, -iou, void[a, true], found))
        listed = [x[order].tolist() for x in (found, true, iou)]
        for t, threshold in enumerate(thresholds):
            at, taken = _in_turn(listed, crowd, float(threshold))
            for own in chosen if alike else chosen[a : a + 1]:
                own[t, at] = taken
    return chosen


def _in_turn(listed: list[Any], crowd: Flags, threshold: float) -> tuple[list[int], list[int]]:
    """Detections that get an object, and it; pairs come by detection, the preferred first."""
    at: list[int] = []
    got: list[int] = []
    gone: set[int] = set()
    served = -1
    for found, true, iou in zip(*listed, strict=True):
        if iou >= threshold and found != served and true not in gone:
            at.append(found)
            got.append(true)
            served = found
            if not crowd[true]:
                gone.add(true)
    return at, got
