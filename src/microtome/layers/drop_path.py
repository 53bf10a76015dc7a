"""How often blocks are skipped while training (Huang et al., ECCV 2016)."""

from __future__ import annotations

from collections.abc import Sequence


def drop_path_rates(last: float, depths: Sequence[int]) -> list[list[float]]:
    """A rate per stage and block, growing evenly from 0 at the first block to `last`."""
    total = max(sum(depths) - 1, 1)
    starts = [sum(depths[:stage]) for stage in range(len(depths))]
    return [
        [last * (start + i) / total for i in range(depth)]
        for start, depth in zip(starts, depths, strict=True)
    ]
