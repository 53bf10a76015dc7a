"""What heads predict that answer with a set of (class, mask) pairs.

A query's mask is the product of its embedding with the pixels' features. The prediction keeps these
two factors and not their product: sampling is linear, so masks at points are embeddings times
sampled features, and no [Q, *S] is ever held for all layers.

L predictions (one per decoder layer and one before them), B batch, Q queries, K classes,
E channels, *S the shape of the features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class MaskPrediction(NamedTuple):
    """What is predicted, layer by layer.

    Attributes:
        class_logits: [L, B, Q, K + 1], the last class meaning "no object".
        embeddings: [L, B, Q, E].
        features: [B, E, *S].
    """

    class_logits: Tensor
    embeddings: Tensor
    features: Tensor

    def mask_logits(self, layer: int = -1) -> Tensor:
        """[B, Q, *S] of one layer."""
        return torch.einsum("bqe,be...->bq...", self.embeddings[layer], self.features)
