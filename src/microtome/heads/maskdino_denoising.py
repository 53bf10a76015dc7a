"""Noisy copies of known objects as further queries, which have to find back to their objects.

Denoising (Li et al., DN-DETR, CVPR 2022), for masks too (Li et al., Mask DINO, CVPR 2023): it needs
no matching. Each copy of all of an image's objects is a group; groups do not see each other, and
the queries that find objects see none of them.

B batch, P noisy queries, G groups, Q queries, D axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .mask_targets import MaskTargets
from .maskdino_targets import object_boxes

__all__ = ["Known", "noisy", "who_sees_whom"]


class Known(NamedTuple):
    """The objects that noisy queries stand for, group by group; images with fewer have gaps.

    Attributes:
        ids: [B, P] the value in the truth's maps; 0 in a gap.
        labels: [B, P].
        boxes: [B, P, 2D] centre and sizes, as parts of the image.
        groups: G.
    """

    ids: Tensor
    labels: Tensor
    boxes: Tensor
    groups: int

    @classmethod
    def of(cls, truths: Sequence[MaskTargets], shapes: Tensor, count: int) -> Known:
        """As many groups as `count` queries have room for; nobody when no image has an object.

        Of an image with more than `count` objects so many are drawn by chance.
        """
        most = min(count, max(len(t.ids) for t in truths))
        drawn = [_drawn(len(t.ids), most, t.ids.device) for t in truths]
        boxes = [object_boxes(t, shape) for t, shape in zip(truths, shapes, strict=True)]
        groups = max(1, count // max(1, most))

        def repeated(parts: Sequence[Tensor]) -> Tensor:
            some = [part[index] for part, index in zip(parts, drawn, strict=True)]
            return torch.cat([pad_sequence(some, batch_first=True)] * groups, 1)

        ids, labels = repeated([t.ids for t in truths]), repeated([t.labels for t in truths])
        return cls(ids, labels, repeated(boxes), groups)

    @classmethod
    def nothing(cls, boxes: Tensor) -> Known:
        """No objects, for as many images as the boxes [B, Q, 2D] are of."""
        none = torch.zeros(len(boxes), 0, dtype=torch.long, device=boxes.device)
        return cls(none, none, boxes[:, :0], 1)

    @property
    def there(self) -> Tensor:
        """[B, P] bool: False in a gap."""
        return self.ids > 0


def noisy(known: Known, num_classes: int, noise: float) -> tuple[Tensor, Tensor]:
    """Labels [B, P] and boxes [B, P, 2D] with noise.

    Args:
        known: what they are.
        num_classes: of which wrong labels are drawn.
        noise: 0…1: a centre moves by up to so much of half a side, a side changes by up to so much
            of itself, and half so many labels are drawn anew.
    """
    drawn = torch.rand(known.labels.shape, device=known.labels.device) < noise / 2
    labels = torch.where(drawn, torch.randint_like(known.labels, num_classes), known.labels)
    sizes = known.boxes.chunk(2, -1)[1]
    reach = torch.cat([sizes / 2, sizes], -1)
    moved = known.boxes + noise * reach * (2 * torch.rand_like(reach) - 1)
    return labels, moved.clamp(0, 1)


def who_sees_whom(known: Known, queries: int) -> Tensor:
    """[B, P + Q, P + Q] bool: where attention among queries is allowed."""
    there = known.there
    count = there.shape[1]
    group = torch.arange(count, device=there.device) // (count // known.groups)
    among = (group[:, None] == group) & there[:, None]  # [B, P, P]
    seen = there.new_ones(len(there), count + queries, count + queries)
    seen[:, :count, :count] = among
    seen[:, count:, :count] = False
    return seen | torch.eye(count + queries, dtype=torch.bool, device=there.device)


def _drawn(there: int, most: int, device: torch.device) -> Tensor:
    """At most so many of the objects, by chance where there are more."""
    if there <= most:
        return torch.arange(there, device=device)
    return torch.randperm(there, device=device)[:most]
