"""What the mask of a region should be: the truth's, read where the region lies.

R regions, *M the cells of a mask, *S the image's shape, D axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from .alignment import Alignment, regions
from .interpolation import applied, cell_means
from .truth import ObjectTruth

AT_ONCE = 2**22  # pixels that are read at a time


def mask_targets(
    truth: ObjectTruth,
    boxes: Tensor,
    objects: Tensor,
    output: Sequence[int],
    alignment: Alignment,
) -> tuple[Tensor, Tensor]:
    """The part of each cell that the object covers, and that is known.

    Args:
        truth: of the image.
        boxes: [R, 2D] in it.
        objects: [R] indices of the truth's objects.
        output: *M.
        alignment: where boxes lie.

    Returns two [R, *M] in 0…1; of the truth, what the boxes cut out is all that is read.
    """
    where, ids = regions(boxes, [1.0] * len(output), alignment), truth.ids[objects]
    low, high = where.chunk(2, 1)
    longest = (high - low).amax(0).tolist() if len(where) else []
    step = max(1, AT_ONCE // prod(int(side) + 3 for side in longest))
    parts = [
        _read(truth, where[start : start + step], ids[start : start + step], output)
        for start in range(0, max(len(where), 1), step)
    ]
    covered, known = (torch.cat(part) for part in zip(*parts, strict=True))
    return covered, known


def _read(
    truth: ObjectTruth, where: Tensor, ids: Tensor, output: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Every box from its first pixel on, as many pixels as the longest has."""
    shape, dims = truth.maps.shape[1:], len(output)
    low, high = where.chunk(2, 1)
    matrices, window = [], []
    for axis, (cells, size) in enumerate(zip(output, shape, strict=True)):
        matrix, pixels = cell_means(low[:, axis], high[:, axis], cells, size)
        matrices.append(matrix)
        window.append(
            pixels[(slice(None), *(None,) * axis, slice(None), *(None,) * (dims - axis - 1))]
        )
    numbers = truth.maps.movedim(0, -1)[tuple(window)]
    inside = (numbers == ids.view(-1, *[1] * (dims + 1))).any(-1)
    covered = applied(inside.float(), matrices)
    if truth.ignored is None:
        return covered, torch.ones_like(covered)
    return covered, applied((~truth.ignored[tuple(window)]).float(), matrices)
