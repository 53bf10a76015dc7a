"""What the mask of a region should be: the truth's, read where the region lies.

R regions, *M the cells of a mask, *S the image's shape, D axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

from torch import Tensor

from .alignment import Alignment, regions
from .interpolation import applied, cell_means
from .truth import ObjectTruth


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
    shape, dims = truth.maps.shape[1:], len(output)
    masks = boxes.new_zeros(2, len(boxes), *output)
    masks[1] = 1
    ids = truth.ids[objects].tolist()
    for row, (box, number) in enumerate(
        zip(regions(boxes, [1.0] * dims, alignment).tolist(), ids, strict=True)
    ):
        spans = [
            _span(low, high, size)
            for low, high, size in zip(box[:dims], box[dims:], shape, strict=True)
        ]
        matrices = [
            cell_means(low, high, cells, span, size).to(masks)
            for low, high, cells, span, size in zip(
                box[:dims], box[dims:], output, spans, shape, strict=True
            )
        ]
        region = tuple(slice(*span) for span in spans)
        mask = (truth.maps[(slice(None), *region)] == number).any(0)
        masks[0, row] = applied(mask.to(masks), matrices)
        if truth.ignored is not None:
            masks[1, row] = applied((~truth.ignored[region]).to(masks), matrices)
    return masks[0], masks[1]


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    """The pixels between which a box is sampled; at least one."""
    start = min(max(floor(low - 0.5), 0), size - 1)
    return start, max(start + 1, min(ceil(high + 0.5), size))
