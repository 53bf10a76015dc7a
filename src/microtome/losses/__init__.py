"""Losses: pure functions, tensors in, scalars out, blind to ignored pixels."""

from .dense import cross_entropy, dice
from .weighting import checked_weights, weighted_sum

__all__ = ["checked_weights", "cross_entropy", "dice", "weighted_sum"]
