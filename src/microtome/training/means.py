"""Means over an epoch that a checkpoint can hold: Lightning forgets its own in mid-epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


class Means:
    """Running means of named scalars, one value of each per batch."""

    def __init__(self) -> None:
        self.count, self.values = 0, dict[str, Tensor]()

    def add(self, figures: Mapping[str, Tensor]) -> None:
        """Take a batch's values into account."""
        self.count += 1
        for name, value in figures.items():
            new = value.detach().float()
            old = self.values.get(name, new)
            self.values[name] = old + (new - old) / self.count

    def clear(self) -> None:
        """Begin again."""
        self.count, self.values = 0, {}

    def state_dict(self) -> dict[str, Any]:
        """All there is to know."""
        return {"count": self.count, "values": dict(self.values)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.count, self.values = state["count"], dict(state["values"])
