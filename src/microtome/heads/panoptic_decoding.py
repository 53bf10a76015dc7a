"""Every pixel to one query: a class for all of them, and objects of the classes that are counted.

Panoptic segmentation (Kirillov et al., 2019) from masks with classes (Cheng et al., MaskFormer,
2021; Mask2Former, CVPR 2022).

Q queries, K classes, *S the shape of the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..structures import Classes, Segmentation
from .mask_decoding import CHUNK, Deciding, Queries, painted_objects


class Claims(NamedTuple):
    """Which of R masks wins each pixel, as 1…R.

    Attributes:
        winner: [*S], 0 only where there is no mask at all.
        inside: [*S], the same where the pixel lies in the winner's mask, else 0.
        areas: [R] pixels of each mask, whoever wins them.
    """

    winner: Tensor
    inside: Tensor
    areas: Tensor

    def visible(self, least: float) -> Tensor:
        """[R] bool: masks that win more than this part of their area, and some pixel inside."""
        count = len(self.areas) + 1
        won, held = (m.flatten().bincount(minlength=count)[1:] for m in self[:2])
        return (held > 0) & (won > least * self.areas)


def panoptic(
    queries: Queries,
    classes: Classes,
    canvas: Sequence[int],
    shape: Sequence[int],
    deciding: Deciding,
) -> Segmentation:
    """Classes [*shape], `ignore_index` where no query answers, and objects, best first.

    Queries that mean no object, or score less than `min_score`, are left out. A pixel goes to the
    query with the highest class score times mask probability. Queries that win `min_visible` of
    their mask or less are dropped, and so are won pixels outside of the mask: nobody gets them. All
    that belongs to a class whose objects are not counted is one region.
    """
    scores, labels = queries.class_logits.float().softmax(-1).max(-1)
    order = scores.argsort(descending=True, stable=True)
    order = order[(labels < classes.num_classes)[order] & (scores[order] >= deciding.min_score)]
    scores, labels = scores[order], labels[order]
    masks = queries.full_masks(order, canvas, shape)
    claims = _claims(masks, scores, shape, deciding.level)
    kept = claims.visible(deciding.min_visible)
    things = kept & torch.tensor(classes.things, device=labels.device)[labels]
    class_of = labels.where(kept, classes.ignore_index)
    number_of = things.cumsum(0).where(things, 0)
    nobody = labels.new_tensor([classes.ignore_index])
    return Segmentation(
        torch.cat([nobody, class_of])[claims.inside],
        painted_objects(
            torch.cat([0 * nobody, number_of])[claims.inside].int(), labels[things], scores[things]
        ),
    )


def _claims(masks: Iterable[Tensor], scores: Tensor, shape: Sequence[int], level: float) -> Claims:
    """Of masks' logits, a few at a time, and their class scores [R]."""
    best = scores.new_zeros(*shape)
    winner, inside = (torch.zeros(*shape, dtype=torch.int64, device=scores.device) for _ in "ab")
    areas = [winner.new_zeros(0)]
    for logits, of_class in zip(masks, scores.split(CHUNK), strict=False):
        within = logits >= level
        number = sum(map(len, areas)) + 1
        areas.append(within.flatten(1).sum(1))
        claim, which = (logits.sigmoid() * of_class.view(-1, *[1] * best.ndim)).max(0)
        better = claim > best
        best = claim.where(better, best)
        winner = (which + number).where(better, winner)
        sure = within.gather(0, which[None])[0]
        inside = winner.where(sure, 0).where(better, inside)
    return Claims(winner, inside, torch.cat(areas))
