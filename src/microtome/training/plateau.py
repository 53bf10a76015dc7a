"""The schedule that depends on a metric: lower when it has stopped getting better."""

from __future__ import annotations

from typing import Any, Literal

from .schedules import Moment, Schedule, within

Mode = Literal["min", "max"]


class Patience:
    """Counts values that are no better than the best so far.

    Args:
        limit: how many of them in a row are let pass.
        min_change: how much better a value must be to count, in its own unit.
    """

    def __init__(self, limit: int, min_change: float = 0.0) -> None:
        self.limit = int(within("patience", limit, 0))
        self.min_change = within("min_change", min_change, 0)
        self.best: float | None = None
        self.waited = 0

    @property
    def over(self) -> bool:
        """Whether more than `limit` values in a row were no better."""
        return self.waited > self.limit

    def observe(self, value: float, mode: Mode) -> None:
        """Take a value into account; one that is not a number is no better than any."""
        gain = value if mode == "max" else -value
        best = self.best if self.best is None or mode == "max" else -self.best
        if gain == gain and (best is None or gain > best + self.min_change):
            self.best, self.waited = value, 0
        else:
            self.waited += 1

    def state_dict(self) -> dict[str, Any]:
        """The best value and how many came since."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.best, self.waited = state["best"], state["waited"]


class Plateau(Schedule):
    """Lower by `gamma` when the run's `monitor` got no better in `patience` validations and one.

    Args:
        warmup: optimiser steps of linear warm-up; below 1 it is a fraction of all steps.
        patience: validations without a better value that are let pass.
        gamma: the factor of a drop.
        min_change: how much better a value must be to count, in the metric's own unit.
        final: no factor is lower.
    """

    def __init__(
        self,
        warmup: float = 0.05,
        patience: int = 5,
        gamma: float = 0.1,
        min_change: float = 1e-4,
        final: float = 1e-4,
    ) -> None:
        super().__init__(warmup)
        self.patience = Patience(patience, min_change)
        self.gamma, self.final = within("gamma", gamma, 0, 1), within("final", final, 0, 1)
        self.scale = 1.0

    def observe(self, value: float, mode: Mode) -> None:
        """Take the value of a validation into account."""
        self.patience.observe(value, mode)
        if self.patience.over:
            self.patience.waited = 0
            self.scale = max(self.final, self.scale * self.gamma)

    def shape(self, now: Moment) -> float:
        """Return what the drops so far have left."""
        return self.scale

    def state_dict(self) -> dict[str, Any]:
        """What the validations so far have led to."""
        return {"scale": self.scale, **self.patience.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.scale = state["scale"]
        self.patience.load_state_dict(state)
