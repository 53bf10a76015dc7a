"""Pure PyTorch, written to be read: the definition."""

from __future__ import annotations

from torch import Tensor


def run(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Two integer maps -> ids_a, ids_b, counts."""
    ids_a, place_a = a.flatten().unique(return_inverse=True)
    ids_b, place_b = b.flatten().unique(return_inverse=True)
    width = max(1, len(ids_b))  # places are dense: their product stays below pixels squared
    pairs, counts = (place_a * width + place_b).unique(return_counts=True)
    return ids_a[pairs // width].long(), ids_b[pairs % width].long(), counts


def refusals(a: Tensor, b: Tensor) -> list[str]:
    """Nothing."""
    return []
