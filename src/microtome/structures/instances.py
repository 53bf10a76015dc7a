"""The objects of one image: class, box, score and mask, always of equal number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from ..geometry import Shape
from .boxes import Boxes, PerAxis
from .indexing import Index, positions
from .label_layers import LabelLayers
from .tensor_tree import TensorTree

Part = TypeVar("Part")


@dataclass(frozen=True)
class Instances(TensorTree):
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

    parts: ClassVar[Mapping[str, Any]] = {"boxes": Boxes, "masks": LabelLayers}

    def __post_init__(self) -> None:
        if self.labels.ndim != 1:
            raise ValueError(f"labels are one class per object, [N], got {list(self.labels.shape)}")
        for name in ("boxes", "scores", "masks"):
            part = getattr(self, name)
            if part is not None and len(part) != len(self):
                raise ValueError(f"{len(self)} labels but {len(part)} {name}")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Index) -> Instances:
        """Choose objects by number, numbers, slice or a bool tensor [N], in the order asked for.

        One number gives Instances of one object.
        """
        kept = positions(index, len(self), self.labels.device)
        return Instances(
            self.labels[kept],
            None if self.boxes is None else self.boxes[kept],
            None if self.scores is None else self.scores[kept],
            None if self.masks is None else self.masks[kept],
        )

    @classmethod
    def cat(cls, parts: Sequence[Instances]) -> Instances:
        """All objects of several Instances of one image, in order.

        Raises ValueError for no parts, and when some have boxes, scores or masks and others none.
        """
        if not parts:
            raise ValueError("no Instances to put together")
        boxes = _known("boxes", [part.boxes for part in parts])
        scores = _known("scores", [part.scores for part in parts])
        masks = _known("masks", [part.masks for part in parts])
        return cls(
            torch.cat([part.labels for part in parts]),
            Boxes(torch.cat([one.tensor for one in boxes])) if boxes else None,
            torch.cat(scores) if scores else None,
            LabelLayers.cat(masks) if masks else None,
        )

    def within(self, offset: PerAxis, scale: PerAxis, shape: Shape) -> Instances:
        """Objects known by their boxes only, after a cut or resize; see `Boxes.place`.

        Objects of which nothing is left are dropped.
        """
        if self.boxes is None:
            return self
        boxes = self.boxes.place(offset, scale, shape)
        return replace(self, boxes=boxes)[boxes.nonempty()]

    def follow(self, masks: LabelLayers) -> Instances:
        """The same objects after their masks were cut or moved; boxes, if any, are computed again.

        Objects without a pixel are dropped.
        """
        there, kept = masks.present()
        rest = replace(self, boxes=None, masks=None)[kept]
        boxes = None if self.boxes is None else Boxes(there.boxes())
        return replace(rest, boxes=boxes, masks=there)


def _known(name: str, parts: list[Part | None]) -> list[Part]:
    """All of them, or none."""
    known = [part for part in parts if part is not None]
    if known and len(known) < len(parts):
        raise ValueError(f"{len(known)} of {len(parts)} Instances have {name}: all or none must")
    return known
