"""What a Mask R-CNN predicts, and the objects that this becomes at the pixels of the source."""

from __future__ import annotations

import logging
from typing import NamedTuple

from torch import Tensor

from ...structures import Boxes, ImageList, Instances, Segmentation
from .alignment import Alignment
from .pasting import pasted
from .region_stage import Found
from .samples import AnchorSamples, RegionSamples

log = logging.getLogger("microtome")


class RCNNPrediction(NamedTuple):
    """What is predicted.

    Attributes:
        anchors, regions: what is judged; None without targets.
        found: None while training.
    """

    anchors: AnchorSamples | None
    regions: RegionSamples | None
    found: Found | None


class Results:
    """Objects of each image, best first; of resized images at their source's size.

    Args:
        alignment: how boxes lie on pixels.
        most: objects of an image; when that many are found, a warning says so once.
    """

    def __init__(self, alignment: Alignment, most: int) -> None:
        self.alignment, self.most = alignment, most
        self.warned = False

    def of(self, found: Found, images: ImageList) -> list[Segmentation]:
        """One for each image."""
        have = images.shapes
        want = have if images.sources is None else images.sources
        image = found.objects.image_index
        return [
            self._one(found, (image == i).nonzero().flatten(), have[i], want[i])
            for i in range(len(images))
        ]

    def _one(self, found: Found, rows: Tensor, have: Tensor, want: Tensor) -> Segmentation:
        boxes, _, labels, scores = (part[rows] for part in found.objects)
        if len(rows) == self.most and not self.warned:
            self.warned = True
            log.warning(f"{len(rows)} objects in an image or tile: raise the head's `max_objects`")
        boxes = Boxes(boxes).resize(have, want).tensor
        probs = found.masks[rows].float().sigmoid()
        masks, kept = pasted(probs, boxes, tuple(want.tolist()), self.alignment)
        return Segmentation(
            instances=Instances(labels[kept], Boxes(boxes[kept]), scores[kept], masks)
        )
