"""Scores of images that add up: NamedTuples of tensors, whose numbers follow from their sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

Sums = TypeVar("Sums", bound="tuple[Tensor, ...]")


def weighted(scores: Sequence[Sums], weights: Tensor) -> Sums:
    """Sums over images that count several times: float64 [W, ...] for weights [W, images]."""
    fields = [torch.stack(field).double() for field in zip(*scores, strict=True)]
    made = [torch.tensordot(weights.double(), field, 1) for field in fields]
    return type(scores[0])(*made)
