"""From the probabilities of insides and boundaries to objects.

T kinds of objects, N objects, *S the spatial shape.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import watershed

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
EVEN = 0.5  # as likely as not


def flooded(probs: Floats, min_size: int = 1) -> tuple[Integers, npt.NDArray[np.int64], Floats]:
    """Flood the foreground from the insides of objects.

    Args:
        probs: [2 + T, *S] of nothing, the inside of each kind, and boundary, adding up to 1.
        min_size: objects of fewer pixels are dropped.

    Returns:
        ids: [*S] 1…N, 0 where there is nothing.
        kinds: [N] in 0…T-1, what most of the inside speaks for.
        scores: [N] the mean probability that a pixel is of an object.
    """
    there, inside = 1 - probs[0], probs[1:-1]
    foreground, seed = there > EVEN, inside.sum(0)
    ids = watershed(-seed, _seeds(foreground, seed > EVEN), mask=foreground).astype(np.int32)
    sizes = np.bincount(ids.ravel())
    kept = np.flatnonzero(sizes[1:] >= min_size) + 1
    table = np.zeros(len(sizes), np.int32)
    table[kept] = np.arange(1, 1 + len(kept))
    ids = table[ids]
    flat, count = ids.ravel(), len(kept) + 1
    votes = [np.bincount(flat, one.ravel(), count)[1:] for one in inside]
    scores = np.bincount(flat, there.ravel(), count)[1:] / np.maximum(sizes[kept], 1)
    return ids, np.argmax(votes, 0), scores.astype(np.float32)


def _seeds(foreground: npt.NDArray[np.bool_], inside: npt.NDArray[np.bool_]) -> Integers:
    """Connected insides; a part of the foreground that has none is a seed itself."""
    seeds, count = ndimage.label(inside & foreground)
    parts, _ = ndimage.label(foreground)
    seeded = np.zeros(parts.max() + 1, bool)
    seeded[parts[seeds > 0]] = True
    lone = ~seeded[parts] & foreground
    return np.asarray(np.where(lone, count + parts, seeds).astype(np.int32))
