"""Which object of a result stands for which of the truth: one to one, by their overlap.

N objects of the result, M of the truth, P pairs that share a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from .overlap import Overlap

Indices = npt.NDArray[np.int64]


def match(overlap: Overlap, threshold: float, allowed: Tensor | None = None) -> Tensor:
    """Choose pairs with IoU >= threshold: as many as possible, and of those the best in sum.

    Args:
        overlap: of one image.
        threshold: in (0, 1].
        allowed: [P] bool, the pairs that may be matched; all when None.

    Returns indices of pairs, ascending; no object is in two of them. It is the assignment of
    StarDist and Cellpose, solved within each group of pairs that share objects; most groups are
    one pair.
    """
    able = overlap.iou >= threshold
    able = able if allowed is None else able & allowed
    edges = able.nonzero().flatten()
    found, true = overlap.pairs[edges].T
    alone = (found.bincount()[found] == 1) & (true.bincount()[true] == 1)
    chosen, contested = [edges[alone]], edges[~alone]
    for group in _groups(overlap.pairs[contested].numpy()):
        own = contested[torch.from_numpy(group)]
        chosen.append(own[_assigned(overlap.pairs[own].numpy(), overlap.iou[own].numpy())])
    return torch.cat(chosen).sort().values


def _groups(pairs: Indices) -> Iterator[Indices]:
    """Split pairs [E, 2] into groups that have no object in common: their indices."""
    if not len(pairs):
        return
    found, true = (np.unique(side, return_inverse=True)[1] for side in pairs.T)
    size = found.max() + true.max() + 2
    graph = coo_array((np.ones(len(pairs)), (found, found.max() + 1 + true)), shape=(size, size))
    group = connected_components(graph, directed=False)[1][found]
    order = np.argsort(group, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def _assigned(pairs: Indices, iou: npt.NDArray[np.float64]) -> Tensor:
    """Choose among pairs [E, 2] of one group: most pairs first, then the highest sum of IoU."""
    found, true = (np.unique(side, return_inverse=True)[1] for side in pairs.T)
    gain = np.zeros((found.max() + 1, true.max() + 1))
    gain[found, true] = 1 + iou / (min(gain.shape) + 1)  # all IoU together weigh less than a pair
    edge = np.full(gain.shape, -1)
    edge[found, true] = np.arange(len(pairs))
    chosen = edge[linear_sum_assignment(gain, maximize=True)]
    return torch.from_numpy(chosen[chosen >= 0])
