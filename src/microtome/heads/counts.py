"""Numbers that have to be large enough."""

from __future__ import annotations

__all__ = ["too_small"]


def too_small(least: int = 1, **counts: int) -> list[str]:
    """What is wrong with them, by name: `num_queries 0 is not 1 or more`."""
    return [f"{name} {n} is not {least} or more" for name, n in counts.items() if n < least]
