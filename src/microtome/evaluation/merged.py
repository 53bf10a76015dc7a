"""The semantic view of instances: objects merged to a map, its pixels scored.

K classes, R = 1 + K rows, *S the spatial shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..ops.mask_overlap import mask_overlap
from ..structures import Instances
from .confusion import PixelSums

IGNORED = -1


def merged_pixels(
    found: Instances, true: Instances, count: int, ignored: Tensor | None = None
) -> PixelSums:
    """Compare the pixels that any object covers, and those that objects of a class cover.

    Args:
        found: of the result, with masks.
        true: of the truth, with masks of the same shape; classes in 0…K-1.
        count: K.
        ignored: [*S] bool, True where nothing is judged.

    Where objects overlap the one in the last layer gives the class. Returns sums [R]: row 0 for
    any object against none, row 1 + k for class k.
    """
    ours, theirs = merged(found), merged(true)
    theirs = theirs if ignored is None else theirs.masked_fill(ignored, IGNORED)
    a, b, pixels = (part.cpu() for part in mask_overlap(ours, theirs))
    sums = PixelSums(*torch.zeros(3, 1 + count, dtype=torch.int64))
    for counts, there, row in (
        (sums.hits, (a == b) & (a > 0), a),
        (sums.true, b > 0, b),
        (sums.found, (a > 0) & (b != IGNORED), a),
    ):
        counts.index_add_(0, row[there], pixels[there])
    sums.hits[0] = pixels[(a > 0) & (b > 0)].sum()
    sums.true[0], sums.found[0] = sums.true[1:].sum(), sums.found[1:].sum()
    return sums


def merged(instances: Instances) -> Tensor:
    """[*S] int32: 1 + class of the object at each pixel, 0 where there is none."""
    assert instances.masks is not None
    table = torch.cat([instances.labels.new_full((1,), -1), instances.labels]).to(torch.int32) + 1
    maps: Sequence[Tensor] = list(instances.masks.maps)
    classes = table[maps[0].long()]
    for layer in maps[1:]:
        classes = torch.where(layer > 0, table[layer.long()], classes)
    return classes


def merged_numbers(sums: PixelSums) -> dict[str, Tensor]:
    """`merged_iou` and `merged_dice`, each [..., R]; nan where there is no such pixel."""
    hits, true, found = (one.double() for one in sums)
    return {"merged_iou": hits / (true + found - hits), "merged_dice": 2 * hits / (true + found)}
