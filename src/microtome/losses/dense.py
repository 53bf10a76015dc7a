"""The losses of dense class maps by name, as configs choose them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf

from torch import Tensor

from .distances import boundary
from .overlap import dice, iou, lovasz, tversky
from .pixels import binary_cross_entropy, cross_entropy, focal_cross_entropy, ohem

DenseLoss = Callable[..., Tensor]  # of logits, classes and ignore_index, and options by name
DENSE_LOSSES: dict[str, DenseLoss] = {
    "cross_entropy": cross_entropy,
    "dice": dice,
    "iou": iou,
    "tversky": tversky,
    "lovasz": lovasz,
    "focal": focal_cross_entropy,
    "ohem": ohem,
    "boundary": boundary,
    "binary_cross_entropy": binary_cross_entropy,
}
OVERLAPPING = ("binary_cross_entropy", "dice", "iou", "tversky")  # also of classes that overlap
WEIGHING_CLASSES = ("cross_entropy", "focal")  # these take class weights
OPTIONS = {  # of each loss, with the least and the largest value
    "cross_entropy": {"smoothing": (0.0, 1.0)},
    "dice": {"smooth": (0.0, inf)},
    "iou": {"smooth": (0.0, inf)},
    "tversky": {"alpha": (0.0, inf), "beta": (0.0, inf), "smooth": (0.0, inf)},
    "focal": {"gamma": (0.0, inf)},
    "ohem": {"fraction": (0.0, 1.0), "least": (0.0, inf)},
}


def chosen_losses(
    names: Sequence[str], options: Mapping[str, Mapping[str, float]] | None = None
) -> dict[str, DenseLoss]:
    """The losses of these names, with their options set.

    Raises ValueError listing all options of other losses, unknown ones, and values out of bounds.
    """
    options = options or {}
    wrong = [f"{name} is not among the losses {list(names)}" for name in options.keys() - names]
    for name in sorted(options.keys() & names):
        known = OPTIONS.get(name, {})
        for option, value in options[name].items():
            if option not in known:
                wrong.append(f"{name} has {sorted(known) or 'no options'}, not {option!r}")
            elif not known[option][0] <= value <= known[option][1]:
                low, high = known[option]
                wrong.append(f"{name}.{option} must lie in {low:g}…{high:g}, got {value}")
    if wrong:
        raise ValueError("options of losses: " + "; ".join(wrong))
    return {name: partial(DENSE_LOSSES[name], **options.get(name, {})) for name in names}
