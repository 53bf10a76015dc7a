"""Validation predicts like `predict`, and counts the loss of the very tiles it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..geometry import Placement, Shape
from ..models import Segmenter
from ..structures import DataSample, Instances, Segmentation


class TilesWithTruth:
    """A model that also counts the loss of the tiles it predicts, from one forward pass.

    Args:
        model: the segmenter.
        truth: of the whole image; None counts nothing.
    """

    def __init__(self, model: Segmenter, truth: Segmentation | None) -> None:
        self.model, self.truth = model, truth
        self._losses: list[Tensor] = []

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        """Predict tiles; each says by its placement where it lies in the image."""
        if self.truth is not None:
            samples = [
                replace(s, truth=truth_at(self.truth, s.placement, s.shape)) for s in samples
            ]
        images, targets = self.model.prepare(samples)
        prediction = self.model(images, targets)
        if targets is not None:
            self._losses.append(self.model.total(self.model.losses(prediction, targets)))
        return self.model.decode(prediction, images)

    @property
    def loss(self) -> Tensor:
        """The mean over batches of tiles."""
        return torch.stack(self._losses).mean()


def truth_at(truth: Segmentation, placement: Placement | None, shape: Shape) -> Segmentation:
    """Take the truth where a tile of `shape` lies; at another scale, the nearest pixels."""
    if placement is None:
        return truth
    index = [
        ((torch.arange(s) + 0.5) * scale + offset).long().clamp(max=size - 1)
        for s, scale, offset, size in zip(
            shape, placement.scale, placement.offset, placement.shape, strict=True
        )
    ]
    at = torch.meshgrid(*index, indexing="ij")
    classes = None if truth.classes is None else truth.classes[at]
    instances = truth.instances
    if instances is not None and instances.masks is not None:
        cut = replace(instances.masks, maps=instances.masks.maps[(slice(None), *at)])
        masks, kept = cut.present()
        instances = Instances(instances.labels[kept], masks=masks)
    return Segmentation(classes, instances)
