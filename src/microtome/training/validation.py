"""Validation predicts like `predict`, and counts the loss of the very tiles it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..data.resizing import truth_at
from ..models import Segmenter
from ..structures import DataSample, Segmentation


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
