"""Objects by their insides: a network tells inside from boundary, a watershed does the rest.

The recipe of Caicedo et al. (2019) for nuclei, after the U-Net of Ronneberger et al. (2015): pixels
are nothing, the inside of an object of some class, or its boundary; connected insides are seeds,
from which the foreground is flooded. It is the baseline that heads of queries and of boxes are
compared with. Objects that overlap it cannot tell apart.

B batch, K classes, T kinds of objects, N objects, *S the spatial shape.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..geometry import window
from ..structures import (
    Boxes,
    Classes,
    ImageList,
    Instances,
    LabelLayers,
    Pyramid,
    PyramidSpec,
    Segmentation,
)
from . import Head, Targets
from .dense import Dense, DensePrediction
from .flooding import flooded

__all__ = ["BoundaryWatershed"]


class BoundaryWatershed(Head[DensePrediction]):
    """A dense head on 2 + T classes (nothing, the inside of each kind, boundary), and a watershed.

    Args:
        spec: what the backbone or neck returns.
        classes: the class table; objects are of its things, or of any class where it names none.
        channels: the width that all levels are brought to.
        weights: of losses, as in `Dense`.
        boundary_weight: of boundary pixels in the cross-entropy, in that of the others; they are
            few, and a gap in one joins two objects.
        min_size: objects of fewer pixels are dropped.

    Raises ValueError for classes that do not exclude each other, and for unknown losses.
    """

    scored = False

    def __init__(
        self,
        spec: PyramidSpec,
        classes: Classes,
        *,
        channels: int = 128,
        weights: Mapping[str, float] | None = None,
        boundary_weight: float = 3.0,
        min_size: int = 8,
    ) -> None:
        super().__init__()
        if boundary_weight <= 0 or min_size < 1:
            raise ValueError(
                "expected boundary_weight > 0 and min_size >= 1, "
                f"got {boundary_weight} and {min_size}"
            )
        self.classes, self.min_size = classes.checked(), min_size
        things = [i for i, counted in enumerate(classes.things) if counted]
        self.kinds = things or list(range(classes.num_classes))
        names = ("nothing", *(f"inside {classes.names[i]}" for i in self.kinds), "boundary")
        table = Classes(names, (), (), _unused(classes.ignore_index, len(names)), classes.exclusive)
        factors = [1.0] * (len(names) - 1) + [boundary_weight]
        self.dense = Dense(spec, table, channels=channels, weights=weights, class_weights=factors)
        self.weights = self.dense.weights

    def forward(
        self, pyramid: Pyramid, images: ImageList, targets: Targets | None = None
    ) -> DensePrediction:
        """Maps [B, C_l, *S_l], finest first, to logits [B, 2 + T, *canvas]."""
        prediction: DensePrediction = self.dense(pyramid, images, targets)
        return prediction

    def losses(self, prediction: DensePrediction, targets: Targets) -> dict[str, Tensor]:
        """Cross-entropy and Dice against the parts of objects, made here of their masks.

        Raises ValueError for a target without objects or masks.
        """
        return self.dense.losses(prediction, [Segmentation(self._parts(t)) for t in targets])

    def decode(self, prediction: DensePrediction, images: ImageList) -> list[Segmentation]:
        """Objects with scores: the mean probability, over its pixels, that there is an object."""
        probs = prediction.logits.float().softmax(1)
        shapes = images.shapes.tolist()
        return [
            Segmentation(instances=self._objects(one[(slice(None), *window(shape))]))
            for one, shape in zip(probs, shapes, strict=True)
        ]

    def _parts(self, target: Segmentation) -> Tensor:
        """[*S] int64: 0 nothing, 1 + t the inside of kind t, 1 + T boundary, or ignored."""
        objects = target.instances
        if objects is None or objects.masks is None:
            raise ValueError("BoundaryWatershed learns from objects with masks: a target has none")
        ids = _topmost(objects.masks.maps)
        kind = torch.zeros(self.classes.num_classes, dtype=torch.int64, device=ids.device)
        kind[self.kinds] = torch.arange(1, 1 + len(self.kinds), device=ids.device)
        parts = torch.cat([kind.new_zeros(1), kind[objects.labels.long()]])[ids.long()]
        judged = torch.ones_like(ids, dtype=torch.bool)
        if target.classes is not None:
            judged = target.classes != self.classes.ignore_index
        parts[boundary(ids, judged) & (parts > 0)] = 1 + len(self.kinds)
        return parts.where(judged, self.dense.classes.ignore_index)

    def _objects(self, probs: Tensor) -> Instances:
        ids, labels, scores = flooded(probs.detach().cpu().numpy(), self.min_size)
        masks = LabelLayers(torch.from_numpy(ids)[None], torch.arange(1, 1 + len(labels)))
        masks = masks.to(probs.device)
        kinds = torch.tensor(self.kinds)[torch.from_numpy(labels)].to(probs.device)
        found = torch.from_numpy(scores).to(probs.device)
        return Instances(kinds, Boxes(masks.boxes()), found, masks)


def boundary(ids: Tensor, judged: Tensor) -> Tensor:
    """[*S] bool, pixels of objects [*S] with a neighbour, along an axis, that is not of the object.

    Neither the border of the image is a boundary, nor that of what is `judged` [*S]. Objects so
    thin that they would have no inside keep all their pixels.
    """
    edge = torch.zeros_like(ids, dtype=torch.bool)
    for axis, size in enumerate(ids.shape):
        one, other, known, also = (
            x.narrow(axis, start, size - 1) for x in (ids, judged) for start in (0, 1)
        )
        differs = (one != other) & known & also
        edge.narrow(axis, 1, size - 1).logical_or_(differs)
        edge.narrow(axis, 0, size - 1).logical_or_(differs)
    inside = torch.where(edge, 0, ids).flatten().long()
    thick = torch.bincount(inside, minlength=int(ids.max()) + 1) > 0
    thick[0] = False
    return edge & thick[ids.long()]


def _topmost(maps: Tensor) -> Tensor:
    """[*S] of layers [L, *S]: the object of the last layer that has one."""
    ids = maps[0]
    for layer in maps[1:]:
        ids = torch.where(layer > 0, layer, ids)
    return ids


def _unused(ignore_index: int, count: int) -> int:
    """The same value, unless it is one of the classes now."""
    return ignore_index if not 0 <= ignore_index < count else -1
