"""From named losses to the one number that is minimised."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


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
