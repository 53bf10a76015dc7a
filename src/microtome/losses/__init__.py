"""Losses: pure functions, tensors in, scalars out, blind to ignored pixels."""

from .dense import cross_entropy, dice
from .weighting import Balance, balanced, checked_weights, weighted_sum

__all__ = ["Balance", "balanced", "checked_weights", "cross_entropy", "dice", "weighted_sum"]
