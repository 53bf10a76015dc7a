"""From named losses to the one number that is minimised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal

import torch
from torch import Tensor

Balance = Literal["inverse", "median"]


def balanced(rule: Balance, pixels: Sequence[int], among: Sequence[int]) -> list[float]:
    """Class weights that make up for rare classes.

    `inverse`: so that all classes weigh the same in sum, and a pixel 1 on average (King & Zeng,
    2001). `median`: the median frequency over the class's own, where a frequency is that within the
    images that show the class (Eigen & Fergus, 2015): milder, for classes that few images show.

    Args:
        rule: which of the two.
        pixels: how many each class has.
        among: how many pixels are judged in the images that show each class.

    Classes without a pixel get 1, which nothing is multiplied by.
    """
    seen = [n for n in pixels if n]
    if rule == "inverse":
        return [sum(seen) / (len(seen) * n) if n else 1.0 for n in pixels]
    rates = [n / m if n else 0.0 for n, m in zip(pixels, among, strict=True)]
    middle = median([r for r in rates if r] or [1.0])
    return [middle / r if r else 1.0 for r in rates]


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum losses times weights.

    Raises KeyError unless the two have the very same keys, so that no loss is dropped unseen.
    """
    if losses.keys() != weights.keys():
        raise KeyError(
            f"losses without a weight: {sorted(losses.keys() - weights.keys())}; "
            f"weights without a loss: {sorted(weights.keys() - losses.keys())}"
        )
    return torch.stack([losses[name] * weight for name, weight in weights.items()]).sum()


def checked_weights(
    given: Mapping[str, float] | None, default: Mapping[str, float]
) -> dict[str, float]:
    """Replace some of the default weights.

    Raises ValueError for a loss that the defaults do not name, and for negative weights.
    """
    given = given or {}
    unknown = sorted(given.keys() - default.keys())
    if unknown:
        raise ValueError(f"unknown losses {unknown}: this head has {sorted(default)}")
    negative = sorted(name for name, weight in given.items() if weight < 0)
    if negative:
        raise ValueError(f"loss weights must not be negative: {negative}")
    return {**default, **given}
