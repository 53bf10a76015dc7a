"""Features of boxes, each from the level that suits its size (Lin et al., CVPR 2017).

R boxes of all images, C channels, D axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...ops.roi_align import roi_align
from ...structures import Pyramid
from .alignment import Alignment, regions
from .anchors import Strides

CELLS = 14  # a box is looked up on the coarsest level where it is that many cells long


class Pooling:
    """Looks boxes up.

    Args:
        strides: of the levels, finest first.
        alignment: where boxes lie.
    """

    def __init__(self, strides: Strides, alignment: Alignment) -> None:
        self.strides, self.alignment = strides, alignment

    def levels(self, boxes: Tensor) -> Tensor:
        """[R] the level of each box: its length is the geometric mean of its sides."""
        low, high = boxes.chunk(2, 1)
        cells = boxes.new_tensor(self.strides).prod(1) * CELLS ** low.shape[1]
        coarser = (high - low).prod(1)[:, None].log2() - cells[1:].log2()
        level: Tensor = (coarser / low.shape[1] + 1e-6 >= 0).sum(1)  # torchvision's allowance
        return level

    def __call__(
        self, pyramid: Pyramid, boxes: Tensor, image_index: Tensor, output: Sequence[int]
    ) -> Tensor:
        """[R, C, *output] of boxes [R, 2D] in the images [R]; levels beyond ours are not read."""
        level = self.levels(boxes)
        order, parts = level.argsort(stable=True), []
        counts = torch.bincount(level, minlength=len(self.strides)).tolist()
        for maps, stride, rows in zip(pyramid, self.strides, order.split(counts), strict=False):
            if len(rows):
                some = regions(boxes[rows], stride, self.alignment)
                parts.append(roi_align(maps, some, image_index[rows], output, stride))
        if not parts:
            return pyramid[0].new_zeros(0, pyramid[0].shape[1], *output)
        if len(parts) == 1:
            return parts[0]
        return torch.cat(parts)[order.argsort()]
