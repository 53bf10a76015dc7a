"""The truth of an image as masks, kept as integer maps and looked up at points.

K classes, N masks, P points, *S spatial shape. A dense [N, *S] is never made.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ..structures import Classes, Segmentation
from ..structures.nearest import at_points

Task = Literal["semantic", "instance"]


class MaskTargets(NamedTuple):
    """N masks of one image.

    Attributes:
        maps: [layers, *S] integers.
        ids: [N] the value in the maps that means this mask.
        labels: [N] its class.
        valid_mask: [*S] bool, False on ignored pixels.
    """

    maps: Tensor
    ids: Tensor
    labels: Tensor
    valid_mask: Tensor

    @classmethod
    def of(cls, target: Segmentation, task: Task, classes: Classes) -> MaskTargets:
        """One mask for each present class, or one for each object with a pixel that is judged.

        Raises ValueError when the target lacks what the task needs, or has unknown labels.
        """
        if task == "semantic":
            return cls._of_classes(target, classes)
        return cls._of_objects(target, classes)

    @classmethod
    def _of_classes(cls, target: Segmentation, classes: Classes) -> MaskTargets:
        if target.classes is None:
            raise ValueError("task semantic: expected targets with `classes`, got one without")
        valid = target.classes != classes.ignore_index
        present = target.classes[valid].unique()
        _check(present, classes)
        return cls(target.classes[None], present, present.long(), valid)

    @classmethod
    def _of_objects(cls, target: Segmentation, classes: Classes) -> MaskTargets:
        objects = target.instances
        if objects is None or objects.masks is None:
            raise ValueError(
                "task instance: expected targets with `instances` and their masks, got one without"
            )
        maps = objects.masks.maps
        if target.classes is None:
            valid = torch.ones_like(maps[0], dtype=torch.bool)
        else:
            valid = target.classes != classes.ignore_index
        present = maps[:, valid].unique()
        present = present[present > 0]
        labels = objects.labels[present.long() - 1].long()
        _check(labels, classes)
        return cls(maps, present, labels, valid)

    def values(self, points: Tensor) -> Tensor:
        """Values of the maps at points [P, D] in 0…1, of the nearest pixel: [layers, P]."""
        return at_points(self.maps, points)


def _check(labels: Tensor, classes: Classes) -> None:
    unknown = labels[(labels < 0) | (labels >= classes.num_classes)].unique().tolist()
    if unknown:
        raise ValueError(
            f"targets hold classes {unknown}; expected 0 to {classes.num_classes - 1}, "
            f"or pixels of {classes.ignore_index} to be ignored"
        )
