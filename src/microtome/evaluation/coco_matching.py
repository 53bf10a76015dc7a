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
    choosy = np.bincount(found, minlength=count)[found] > 1
    wanted = np.zeros(len(crowd), bool)  # by a detection that has another choice
    wanted[true[choosy]] = True
    rest = choosy | (wanted & ~crowd)[true]
    simple = found[~rest], true[~rest], iou[~rest]
    for t, threshold in enumerate(thresholds):
        at, taken = _first(simple, crowd, float(threshold))
        chosen[:, t, at] = taken
    several = void[:, true[choosy]]
    alike = bool((several == several[:1]).all())  # all ranges choose alike
    found, true, iou = found[rest], true[rest], iou[rest]
    for a in range(1 if alike else len(void)):
        order = np.lexsort((-true, -iou, void[a, true], found))
        listed = [x[order].tolist() for x in (found, true, iou)]
        for t, threshold in enumerate(thresholds):
            at_rest, taken_rest = _in_turn(listed, crowd, float(threshold))
            for own in chosen if alike else chosen[a : a + 1]:
                own[t, at_rest] = taken_rest
    return chosen


def _first(edges: Edges, crowd: Flags, threshold: float) -> tuple[Integers, Integers]:
    """Where no detection has a choice, an object goes to the first one that reaches it."""
    found, true, iou = edges
    able = iou >= threshold
    found, true = found[able], true[able]
    first = np.full(len(crowd), np.iinfo(np.int64).max)
    np.minimum.at(first, true, found)
    served = (found == first[true]) | crowd[true]
    return found[served], true[served]


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
