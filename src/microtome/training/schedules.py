"""Learning-rate schedules: pure functions of the optimiser step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod


class Schedule(ABC):
    """A factor on the base learning rate, after a linear warm-up.

    Args:
        warmup: optimiser steps of linear warm-up; below 1 it is a fraction of all steps.
    """

    def __init__(self, warmup: float = 0.05) -> None:
        if warmup < 0:
            raise ValueError(f"warmup: expected steps or a fraction >= 0, got {warmup}")
        self.warmup = warmup

    def factor(self, step: int, total: int) -> float:
        """Return the factor at optimiser step `step` (from 0) of `total`."""
        warmup = round(self.warmup * total) if self.warmup < 1 else round(self.warmup)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return self.shape(min(1.0, (step - warmup) / max(1, total - warmup)))

    @abstractmethod
    def shape(self, progress: float) -> float:
        """Return the factor at `progress` 0…1 after the warm-up."""


class Constant(Schedule):
    """The base rate throughout."""

    def shape(self, progress: float) -> float:
        """Return 1."""
        return 1.0


class Cosine(Schedule):
    """Half a cosine from the base rate to `final` times it (Loshchilov & Hutter, 2017).

    Args:
        warmup: optimiser steps of linear warm-up; below 1 it is a fraction of all steps.
        final: the factor at the last step.
    """

    def __init__(self, warmup: float = 0.05, final: float = 0.0) -> None:
        super().__init__(warmup)
        self.final = final

    def shape(self, progress: float) -> float:
        """Return the cosine's value."""
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))
