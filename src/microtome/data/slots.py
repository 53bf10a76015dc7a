"""Slots of a recipe: now and then, one of several transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from monai.transforms import RandomizableTransform

from ..structures import Classes, DataSample
from .sampling import dice
from .transforms import MonaiTransforms, check_fit


class Slot:
    """With some probability, one of several MONAI dictionary transforms, all equally likely.

    Args:
        prob: how often anything is done.
        transforms: what may be done. The one that is drawn is always done: their own `prob` does
            not count.

    Raises ValueError for other probabilities, for no transform, and as `MonaiTransforms` does.
    """

    def __init__(self, prob: float, transforms: Sequence[Callable[..., Any]]) -> None:
        if not 0 <= prob <= 1 or not transforms:
            raise ValueError(
                f"a slot has a prob within 0…1 and at least one transform, got {prob} and "
                f"{len(transforms)} transforms"
            )
        self.prob, self.choices = prob, [MonaiTransforms([one]) for one in transforms]
        for leaf in (leaf for choice in self.choices for leaf in choice.leaves):
            if isinstance(leaf, RandomizableTransform):
                leaf.prob = 1.0

    def __call__(
        self, sample: DataSample, chance: np.random.SeedSequence, classes: Classes
    ) -> DataSample:
        """Draw, and apply what was drawn.

        Raises ValueError where any of the transforms does not fit the sample, drawn or not: so a
        recipe that does not fit the data fails at its first sample. One that is never drawn may.
        """
        if self.prob:
            check_fit(sample, *self.choices)
        rng = np.random.default_rng(chance)
        if rng.random() >= self.prob:
            return sample
        chosen = self.choices[rng.integers(len(self.choices))]
        return chosen(sample, dice(int(rng.integers(2**63))), classes)
