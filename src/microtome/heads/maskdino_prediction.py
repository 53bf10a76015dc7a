"""What Mask DINO predicts.

L layers, B batch, Q queries, K classes, E channels, D axes, *S the shape of the features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .maskdino_denoising import Known

__all__ = ["Answers", "BoxMaskPrediction"]


class Answers(NamedTuple):
    """What queries say, layer by layer: masks are embeddings times features.

    Attributes:
        class_logits: [L, B, Q, K], each class for itself.
        embeddings: [L, B, Q, E].
        boxes: [L, B, Q, 2D] centre and sizes, as parts of the image.
    """

    class_logits: Tensor
    embeddings: Tensor
    boxes: Tensor


class BoxMaskPrediction(NamedTuple):
    """What is predicted.

    Attributes:
        found: before the first layer and after each, L + 1.
        proposed: by the places that became queries, 1.
        denoised: of the noisy queries, L + 1; of no queries unless training with objects.
        known: what the noisy queries stand for.
        features: [B, E, *S].
        shapes: [B, D] of the images in pixels, which boxes are parts of.
    """

    found: Answers
    proposed: Answers
    denoised: Answers
    known: Known
    features: Tensor
    shapes: Tensor

    def mask_logits(self, layer: int = -1) -> Tensor:
        """[B, Q, *S] of one layer."""
        return torch.einsum("bqe,be...->bq...", self.found.embeddings[layer], self.features)
