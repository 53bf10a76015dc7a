"""What is to be found in one image: boxes, classes and masks, and where nobody knows.

N objects, M boxes, D axes, *S the true shape of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from ...geometry import window
from ...structures import Classes, Segmentation

UNKNOWN = 0.5  # a box of which more than this is ignored says nothing of background


class ObjectTruth(NamedTuple):
    """N objects of one image.

    Attributes:
        boxes: [N, 2D] float32, none of them empty.
        labels: [N] int64, classes from 1 on.
        ids: [N] the value in the maps that means this object.
        maps: [K, *S] integers.
        ignored: [*S] bool, or None where every pixel is known.
    """

    boxes: Tensor
    labels: Tensor
    ids: Tensor
    maps: Tensor
    ignored: Tensor | None

    @classmethod
    def of(cls, target: Segmentation, shape: Sequence[int], classes: Classes) -> ObjectTruth:
        """Objects with a box that is not empty, and a known pixel where some are ignored.

        Args:
            target: on the canvas.
            shape: of the image itself; what is known of the padding behind it is background.
            classes: the table; its first class is the background.

        Raises ValueError for a target without objects or masks, and for objects of class 0 or of
        a class that is none.
        """
        objects = target.instances
        if objects is None or objects.masks is None:
            raise ValueError("expected targets with `instances` and their masks, got one without")
        maps = objects.masks.maps[(slice(None), *window(shape))]
        boxes = objects.boxes.tensor if objects.boxes is not None else objects.masks.boxes()
        kept = (boxes.chunk(2, 1)[1] > boxes.chunk(2, 1)[0]).all(1)
        ignored = None
        if target.classes is not None:
            unknown = target.classes[window(shape)] == classes.ignore_index
            if unknown.any():
                ignored = unknown
                known = torch.zeros(len(kept) + 1, dtype=torch.bool, device=kept.device)
                known[maps[:, ~unknown].long().flatten()] = True
                kept = kept & known[1:]
        labels = objects.labels[kept].long()
        _check(labels, classes)
        ids = kept.nonzero().flatten() + 1
        return cls(boxes[kept].float(), labels, ids, maps, ignored)

    def unknown(self, boxes: Tensor) -> Tensor | None:
        """[M] bool, boxes that lie for the most part on ignored pixels; None where none are."""
        if self.ignored is None:
            return None
        return _share(self.ignored, boxes) > UNKNOWN


def _check(labels: Tensor, classes: Classes) -> None:
    wrong = labels[(labels < 1) | (labels >= classes.num_classes)].unique().tolist()
    if wrong:
        raise ValueError(
            f"objects of classes {wrong}; expected 1 to {classes.num_classes - 1} of "
            f"{classes.names}, of which the first is the background"
        )


def _share(mask: Tensor, boxes: Tensor) -> Tensor:
    """[M] the part of each box where a mask [*S] is True, boxes rounded to pixels: from sums."""
    sums = torch.nn.functional.pad(mask.double(), (1, 0) * mask.ndim)
    for axis in range(mask.ndim):
        sums = sums.cumsum(axis)
    most = torch.tensor(mask.shape, device=boxes.device).repeat(2)
    low, high = torch.minimum(boxes.round().long().clamp(min=0), most).chunk(2, 1)
    total = sums.new_zeros(len(boxes))
    for corner in product((0, 1), repeat=mask.ndim):
        at = [(high if side else low)[:, axis] for axis, side in enumerate(corner)]
        total += (-1) ** (mask.ndim - sum(corner)) * sums[tuple(at)]
    return total / (high - low).clamp(min=0).prod(1).clamp(min=1)
