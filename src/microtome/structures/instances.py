"""The objects of one image: class, box, score and mask, always of equal number."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..ops.box_iou import box_iou
from .label_layers import LabelLayers


@dataclass(frozen=True)
class Boxes:
    """Half-open boxes [N, 2D], `z0 y0 x0 z1 y1 x1` in pixels, like scikit-image's `bbox`."""

    tensor: Tensor

    def __len__(self) -> int:
        return len(self.tensor)

    def clip(self, shape: Tensor) -> Boxes:
        """Clip to an image of `shape` [D]."""
        return Boxes(torch.minimum(self.tensor.clamp(min=0), shape.repeat(2)))

    def iou(self, other: Boxes) -> Tensor:
        """[N, M] intersection over union with every box of another set."""
        return box_iou(self.tensor, other.tensor)


@dataclass(frozen=True)
class Instances:
    """N objects of one image.

    Attributes:
        labels: [N] class index of each object.
        boxes: N boxes, or None.
        scores: [N] confidence, or None in the truth.
        masks: N masks, or None.

    Raises ValueError when the lengths differ.
    """

    labels: Tensor
    boxes: Boxes | None = None
    scores: Tensor | None = None
    masks: LabelLayers | None = None

    def __post_init__(self) -> None:
        for name in ("boxes", "scores", "masks"):
            part = getattr(self, name)
            if part is not None and len(part) != len(self):
                raise ValueError(f"{len(self)} labels but {len(part)} {name}")

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Instances:
        """Move every tensor."""
        return replace(
            self,
            labels=self.labels.to(device),
            boxes=self.boxes and Boxes(self.boxes.tensor.to(device)),
            scores=None if self.scores is None else self.scores.to(device),
            masks=self.masks and self.masks.to(device),
        )
