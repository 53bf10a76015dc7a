"""C++ on processors: cpu.cpp and kernel.h, built by `make ops`."""

from __future__ import annotations

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


def refusals(maps: Tensor, points: Tensor, mode: str = "linear") -> list[str]:
    """Other devices, dtypes and numbers of axes."""
    reasons = []
    exact = torch.float64 if maps.dtype == torch.float64 else torch.float32
    if maps.device.type != "cpu":
        reasons.append(f"needs CPU tensors, got {maps.device}")
    if maps.dtype not in tolerance:
        reasons.append(f"maps of {maps.dtype}")
    if points.dtype != exact:
        reasons.append(f"points of {points.dtype} where sums are {exact}")
    if points.shape[-1] > 3:
        reasons.append(f"{points.shape[-1]} axes are more than 3")
    return reasons
