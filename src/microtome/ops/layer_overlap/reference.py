"""Pure PyTorch, written to be read: the definition."""

from __future__ import annotations

import torch
from torch import Tensor

from ..mask_overlap.reference import run as overlap_of_two


def run(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Layers [K, *S] and [L, *S] -> ids_a, ids_b, counts."""
    nothing = a.new_zeros(a.shape[1:], dtype=torch.int64)
    tables = [a.new_empty(0, 3, dtype=torch.int64)]
    tables += [_table(one, nothing) for one in a]
    tables += [_table(nothing, other) for other in b]
    for one in a:
        shared = [_table(one, other) for other in b]
        tables += [table[(table[:, :2] != 0).all(1)] for table in shared]
    table = torch.cat(tables)
    table = table[(table[:, :2] != 0).any(1)]
    pairs, where = table[:, :2].unique(dim=0, return_inverse=True)
    counts = table.new_zeros(len(pairs)).index_add_(0, where, table[:, 2])
    return pairs[:, 0], pairs[:, 1], counts


def refusals(a: Tensor, b: Tensor) -> list[str]:
    """Nothing."""
    return []


def _table(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack(overlap_of_two(a.long(), b.long()), 1)
