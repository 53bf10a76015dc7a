"""The operator behind the compiled backend: schema and shapes."""

from __future__ import annotations

import torch
from torch import Tensor

torch.library.define(
    "microtome::layer_overlap",
    "(Tensor a, Tensor b) -> (Tensor ids_a, Tensor ids_b, Tensor counts)",
)


def run(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Layers [K, *S] and [L, *S] -> ids_a, ids_b, counts."""
    ids_a, ids_b, counts = torch.ops.microtome.layer_overlap(a, b)
    return ids_a, ids_b, counts


def _shapes(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    pairs = torch.library.get_ctx().new_dynamic_size()
    ids_a, ids_b, counts = (a.new_empty(pairs, dtype=torch.int64) for _ in range(3))
    return ids_a, ids_b, counts


torch.library.register_fake("microtome::layer_overlap", _shapes)
