"""Numbers of tables to numbers by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def named(columns: Mapping[str, Tensor], names: Mapping[int, str]) -> dict[str, Tensor]:
    """Give numbers [..., 1 + K] of rows their names: each [...].

    Args:
        columns: numbers by key; row 0 is for objects whatever their class, row 1 + k for class k.
        names: class index to name, of the classes to report.

    Returns KEY, `mean_KEY` (over those classes, where they are not nan) and `KEY/NAME`.
    """
    rows = torch.tensor([1 + index for index in names], dtype=torch.int64)
    numbers = {key: values[..., 0] for key, values in columns.items()}
    numbers |= {f"mean_{key}": values[..., rows].nanmean(-1) for key, values in columns.items()}
    return numbers | {
        f"{key}/{name}": values[..., 1 + index]
        for key, values in columns.items()
        for index, name in names.items()
    }
