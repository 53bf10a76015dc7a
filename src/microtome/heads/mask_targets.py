"""The truth of an image as masks, kept as integer maps and looked up at points.

K classes, N masks, P points, *S spatial shape. A dense [N, *S] is never made.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ..structures import Classes, Segmentation
from ..structures.nearest import at_points

Task = Literal["semantic", "instance", "panoptic"]


def checked_task(task: Task, classes: Classes) -> Task:
    """Return it; raises ValueError when it is unknown, or the class table does not suit it."""
    if task not in get_args(Task):
        raise ValueError(f"task is `semantic`, `instance` or `panoptic`, got {task!r}")
    if task != "instance" and not classes.exclusive:
        raise ValueError(f"task {task} gives each pixel one class: `exclusive: true` classes")
    if task == "panoptic" and not any(classes.things):
        raise ValueError(
            "task panoptic: the class table says of no class that it is a thing, whose objects "
            "are counted; state `things`, or take task semantic"
        )
    return task


class MaskTargets(NamedTuple):
    """N masks of one image.

    Attributes:
        maps: [layers, *S] integers.
        ids: [N] the value in the maps that means this mask.
        labels: [N] its class.
        valid_mask: [*S] bool, False on ignored pixels.
        judged: how many pixels are not ignored.
    """

    maps: Tensor
    ids: Tensor
    labels: Tensor
    valid_mask: Tensor
    judged: int

    @classmethod
    def of(cls, target: Segmentation, task: Task, classes: Classes) -> MaskTargets:
        """A mask for each present class, for each object with a pixel that is judged, or for both.

        Both (task panoptic): classes whose objects are not counted, and objects of the others.

        Raises ValueError when the target lacks what the task needs, or has unknown labels.
        """
        if task == "semantic":
            return cls._of_classes(target, classes)
        objects = cls._of_objects(target, classes)
        return objects if task == "instance" else objects._with_regions(target, classes)

    @classmethod
    def _of_classes(cls, target: Segmentation, classes: Classes) -> MaskTargets:
        if target.classes is None:
            raise ValueError("task semantic: expected targets with `classes`, got one without")
        valid = target.classes != classes.ignore_index
        present = target.classes[valid].unique()
        _check(present, classes)
        return cls(target.classes[None], present, present.long(), valid, int(valid.sum()))

    @classmethod
    def _of_objects(cls, target: Segmentation, classes: Classes) -> MaskTargets:
        objects = target.instances
        if objects is None or objects.masks is None:
            raise ValueError("expected targets with `instances` and their masks, got one without")
        maps = objects.masks.maps
        if target.classes is None:
            valid = torch.ones_like(maps[0], dtype=torch.bool)
        else:
            valid = target.classes != classes.ignore_index
        present = maps[:, valid].unique()
        present = present[present > 0]
        labels = objects.labels[present.long() - 1].long()
        _check(labels, classes)
        return cls(maps, present, labels, valid, int(valid.sum()))

    def _with_regions(self, target: Segmentation, classes: Classes) -> MaskTargets:
        """Objects that are counted, and in one more map the regions of the other classes."""
        known = target.with_classes().classes
        assert known is not None and target.instances is not None  # there are objects with masks
        here = known.where(self.valid_mask, 0).long()
        _check(here.unique(), classes)
        things = torch.tensor(classes.things, device=here.device)
        first = len(target.instances) + 1  # beyond all objects' numbers
        regions = (here + first).where(self.valid_mask & ~things[here], 0)
        present = regions.unique()
        present = present[present > 0]
        counted = things[self.labels]
        return self._replace(
            maps=torch.cat([self.maps, regions[None].to(self.maps.dtype)]),
            ids=torch.cat([self.ids[counted], present.to(self.ids.dtype)]),
            labels=torch.cat([self.labels[counted], present - first]),
        )

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
