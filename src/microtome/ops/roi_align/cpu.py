"""C++ on processors: cpu.cpp and kernel.h, built by `make ops`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import library
from .operator import run

__all__ = ["lacking", "refusals", "run", "tolerance"]

# sums in another order, in at least float32; half precision rounds the answer once
tolerance = {
    torch.float64: 1e-10,
    torch.float32: 1e-4,
    torch.bfloat16: 2**-7,
    torch.float16: 2**-9,
}
lacking = library.lacking()


def refusals(maps: Tensor, *others: Any) -> list[str]:
    """Other devices, dtypes and numbers of axes."""
    reasons = []
    if maps.device.type != "cpu":
        reasons.append(f"needs CPU tensors, got {maps.device}")
    if maps.dtype not in tolerance:
        reasons.append(f"maps of {maps.dtype}")
    if maps.ndim > 5:
        reasons.append(f"{maps.ndim - 2} axes are more than 3")
    return reasons
