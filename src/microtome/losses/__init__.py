"""Losses: pure functions, tensors in, scalars out, blind to ignored pixels."""

from .dense import DENSE_LOSSES, WEIGHING_CLASSES, chosen_losses
from .distances import boundary
from .overlap import dice, iou, lovasz, tversky
from .pixels import binary_cross_entropy, cross_entropy, focal_cross_entropy, ohem
from .weighting import Balance, balanced, checked_weights, weighted_sum

__all__ = [
    "DENSE_LOSSES",
    "WEIGHING_CLASSES",
    "Balance",
    "balanced",
    "binary_cross_entropy",
    "boundary",
    "checked_weights",
    "chosen_losses",
    "cross_entropy",
    "dice",
    "focal_cross_entropy",
    "iou",
    "lovasz",
    "ohem",
    "tversky",
    "weighted_sum",
]
