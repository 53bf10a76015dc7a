"""Learning-rate schedules: pure functions of the optimiser step, and falling ones among them.

`cycles` has those that rise again, `plateau` the one that watches a metric.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple


class Moment(NamedTuple):
    """Where a run stands, in optimiser steps: `step` of `total`, of which `warmup` rise."""

    step: int
    total: int
    warmup: int

    @property
    def since(self) -> int:
        """Steps since the warm-up."""
        return self.step - self.warmup

    @property
    def progress(self) -> float:
        """How much of what follows the warm-up is done, 0…1."""
        return min(1.0, self.since / max(1, self.total - self.warmup))


def steps_of(given: float, total: int) -> int:
    """Return a number of steps; below 1 it is given as a fraction of all."""
    return round(given * total) if given < 1 else round(given)


def within(name: str, value: float, low: float, high: float = math.inf) -> float:
    """Return `value`; raises ValueError unless low <= value <= high."""
    if not low <= value <= high:
        limits = f">= {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise ValueError(f"{name}: expected a number {limits}, got {value}")
    return value


class Schedule(ABC):
    """A factor on the base learning rate, after a linear warm-up.

    Args:
        warmup: optimiser steps of linear warm-up; below 1 it is a fraction of all steps.
    """

    def __init__(self, warmup: float = 0.05) -> None:
        self.warmup = within("warmup", warmup, 0)

    def factor(self, step: int, total: int) -> float:
        """Return the factor at optimiser step `step` (from 0) of `total`."""
        now = Moment(step, total, steps_of(self.warmup, total))
        return (step + 1) / (now.warmup + 1) if now.since < 0 else self.shape(now)

    @abstractmethod
    def shape(self, now: Moment) -> float:
        """Return the factor at a moment after the warm-up."""


class Constant(Schedule):
    """The base rate throughout."""

    def shape(self, now: Moment) -> float:
        """Return 1."""
        return 1.0


class _Falling(Schedule):
    """From the base rate to `final` times it."""

    def __init__(self, warmup: float = 0.05, final: float = 0.0) -> None:
        super().__init__(warmup)
        self.final = within("final", final, 0, 1)


class Cosine(_Falling):
    """Half a cosine from the base rate to `final` times it (Loshchilov & Hutter, 2017).

    Args:
        warmup: optimiser steps of linear warm-up; below 1 it is a fraction of all steps.
        final: the factor at the end.
    """

    def shape(self, now: Moment) -> float:
        """Return the cosine's value."""
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * now.progress))


class Polynomial(_Falling):
    """(1 - progress)^power, as DeepLab's "poly" (Chen et al., 2018); a line with power 1.

    Args:
        warmup: optimiser steps of linear warm-up; below 1 it is a fraction of all steps.
        power: 0.9 bends it slightly upwards.
        final: the factor at the end.
    """

    def __init__(self, warmup: float = 0.05, power: float = 0.9, final: float = 0.0) -> None:
        super().__init__(warmup, final)
        self.power = within("power", power, 0)

    def shape(self, now: Moment) -> float:
        """Return the power's value."""
        return float(self.final + (1 - self.final) * (1 - now.progress) ** self.power)


class Exponential(_Falling):
    """The same factor at every step, so that it is `final` at the end.

    Args:
        warmup: optimiser steps of linear warm-up; below 1 it is a fraction of all steps.
        final: the factor at the end, above 0.
    """

    def __init__(self, warmup: float = 0.05, final: float = 0.01) -> None:
        super().__init__(warmup, final)
        if not final:
            raise ValueError("final: expected a number above 0, an exponential never gets there")

    def shape(self, now: Moment) -> float:
        """Return the exponential's value."""
        return float(self.final**now.progress)


class Step(Schedule):
    """Lower by `gamma` after every so many steps.

    Args:
        warmup: optimiser steps of linear warm-up; below 1 it is a fraction of all steps.
        every: steps between two drops, counted from the end of the warm-up; below 1 it is a
            fraction of all steps.
        gamma: the factor of a drop.
    """

    def __init__(self, warmup: float = 0.05, every: float = 0.3, gamma: float = 0.1) -> None:
        super().__init__(warmup)
        self.every, self.gamma = every, within("gamma", gamma, 0, 1)
        if every <= 0:
            raise ValueError(f"every: expected steps or a fraction above 0, got {every}")

    def shape(self, now: Moment) -> float:
        """Return gamma to the number of drops."""
        return float(self.gamma ** (now.since // max(1, steps_of(self.every, now.total))))


class MultiStep(Schedule):
    """Lower by `gamma` at given steps.

    Args:
        warmup: optimiser steps of linear warm-up; below 1 it is a fraction of all steps.
        at: steps of the run, the warm-up among them; below 1 they are fractions of all steps.
        gamma: the factor of a drop.
    """

    def __init__(
        self, warmup: float = 0.05, at: Sequence[float] = (0.7, 0.9), gamma: float = 0.1
    ) -> None:
        super().__init__(warmup)
        self.at, self.gamma = tuple(at), within("gamma", gamma, 0, 1)
        for step in self.at:
            within("at", step, 0)

    def shape(self, now: Moment) -> float:
        """Return gamma to the number of drops."""
        return float(self.gamma ** sum(now.step >= steps_of(s, now.total) for s in self.at))
