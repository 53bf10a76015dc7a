"""How many objects losses are divided by."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def mean_count(count: int, device: torch.device, training: bool) -> Tensor:
    """Over processes, at least 1; each counts for itself in validation, where some go faster.

    There they have different numbers of tiles, and would wait for each other for ever.
    """
    total = torch.tensor(float(count), device=device)
    if training and distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(total)
        total /= distributed.get_world_size()
    return total.clamp(min=1)
