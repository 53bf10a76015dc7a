"""Learning-rate schedules that rise after they fell, or in a curve instead of a line."""

from __future__ import annotations

import math

from .schedules import Moment, Schedule, steps_of, within


class OneCycle(Schedule):
    """Up to the base rate in half a cosine, then far down in another (Smith & Topin, 2019).

    The rise is its warm-up. The optimiser's momentum stays as it is.

    Args:
        warmup: optimiser steps of the rise; below 1 it is a fraction of all steps.
        start: the factor at the first step.
        final: the factor at the last step.
    """

    def __init__(self, warmup: float = 0.3, start: float = 0.04, final: float = 4e-6) -> None:
        super().__init__(warmup)
        self.start, self.final = within("start", start, 0, 1), within("final", final, 0, 1)

    def factor(self, step: int, total: int) -> float:
        """Return the factor at optimiser step `step` (from 0) of `total`."""
        peak = max(0, steps_of(self.warmup, total) - 1)
        if step < peak:
            return _between(self.start, 1.0, step / peak)
        return self.shape(Moment(step, total - 1, peak))

    def shape(self, now: Moment) -> float:
        """Return the factor on the way down."""
        return _between(1.0, self.final, now.progress)


class Cyclic(Schedule):
    """Triangles between `low` and the base rate (Smith, 2017).

    Args:
        warmup: optimiser steps of linear warm-up; below 1 it is a fraction of all steps.
        period: steps of one triangle; below 1 it is a fraction of all steps.
        low: the factor where a triangle begins and ends.
        shrink: the height of a triangle in that of the one before.
    """

    def __init__(
        self, warmup: float = 0.0, period: float = 0.2, low: float = 0.1, shrink: float = 1.0
    ) -> None:
        super().__init__(warmup)
        if period <= 0:
            raise ValueError(f"period: expected steps or a fraction above 0, got {period}")
        self.period = period
        self.low, self.shrink = within("low", low, 0, 1), within("shrink", shrink, 0, 1)

    def shape(self, now: Moment) -> float:
        """Return the triangle's value."""
        cycle, place = divmod(now.since / max(2, steps_of(self.period, now.total)), 1)
        height = (1 - self.low) * self.shrink**cycle
        return float(self.low + height * (1 - abs(2 * place - 1)))


def _between(start: float, stop: float, progress: float) -> float:
    """Half a cosine from `start` to `stop`."""
    return stop + (start - stop) * 0.5 * (1 + math.cos(math.pi * progress))
