"""From regions to objects: the best class and box of each, once.

R regions and N objects of all images, K classes with the background, D axes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...ops.nms import batched_nms
from ...structures import Boxes
from .box_coding import BoxCoding

SMALLEST = 1e-2  # pixels; boxes thinner than this along some axis are no objects


class Detections(NamedTuple):
    """Attributes: boxes [N, 2D], image_index, labels and scores [N]; best first in each image."""

    boxes: Tensor
    image_index: Tensor
    labels: Tensor
    scores: Tensor


class Detecting(NamedTuple):
    """What counts as an object.

    Attributes:
        min_score: the least probability of its class.
        overlap: the IoU above which the worse of two of a class is suppressed.
        most: how many of an image are kept.
    """

    min_score: float
    overlap: float
    most: int

    def detect(
        self,
        regions: Tensor,
        image_index: Tensor,
        answers: tuple[Tensor, Tensor],
        shapes: Tensor,
        coding: BoxCoding,
    ) -> Detections:
        """Sift the regions; each is a candidate for every class but the background.

        Args:
            regions: boxes [R, 2D].
            image_index: [R].
            answers: logits [R, K] and deltas [R, K, 2D].
            shapes: [B, D] of the images, to which boxes are clipped.
            coding: of the deltas.
        """
        logits, deltas = answers
        scores = logits.softmax(-1)[:, 1:]
        row, label = (scores > self.min_score).nonzero().unbind(1)
        label = label + 1
        boxes = coding.decode(deltas[row, label], regions[row])
        ends = shapes[image_index[row]].to(boxes).repeat(1, 2)
        boxes = torch.minimum(boxes.clamp(min=0), ends)
        kept = Boxes(boxes).nonempty(SMALLEST)
        row, label, boxes = row[kept], label[kept], boxes[kept]
        score, image = scores[row, label - 1], image_index[row]
        best = batched_nms(boxes, score, image * logits.shape[1] + label, self.overlap)
        chosen = torch.cat([best[image[best] == i][: self.most] for i in range(len(shapes))])
        return Detections(boxes[chosen], image[chosen], label[chosen], score[chosen])
