"""The operator behind the compiled backend: schema and shapes."""

from __future__ import annotations

import torch
from torch import Tensor

torch.library.define("microtome::masks_to_boxes", "(Tensor maps, SymInt count) -> Tensor")


def run(maps: Tensor, count: int) -> Tensor:
    """[K, *S] -> [N, 2D], by the kernel of the tensors' device."""
    out: Tensor = torch.ops.microtome.masks_to_boxes(maps, count)
    return out


def shape(maps: Tensor, count: int) -> Tensor:
    """What comes out, without its values."""
    return maps.new_empty(count, 2 * (maps.ndim - 1), dtype=torch.int64)


torch.library.register_fake("microtome::masks_to_boxes", shape)
