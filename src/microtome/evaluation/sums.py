"""Scores of images that add up: NamedTuples of tensors, whose numbers follow from their sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

Sums = TypeVar("Sums", bound="tuple[Tensor, ...]")


def added(scores: Sequence[Sums]) -> Sums:
    """The sum over images, field by field; of at least one."""
    return _made(scores[0], [torch.stack(field).sum(0) for field in zip(*scores, strict=True)])


def weighted(scores: Sequence[Sums], weights: Tensor) -> Sums:
    """Sums in which images count several times: fields [W, ...] for weights [W, images]."""
    stacked = [torch.stack(field).double() for field in zip(*scores, strict=True)]
    return _made(scores[0], [torch.tensordot(weights.double(), field, 1) for field in stacked])


def _made(like: Sums, fields: list[Tensor]) -> Sums:
    return type(like)(*fields)
