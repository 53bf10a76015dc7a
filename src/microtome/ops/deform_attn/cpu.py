"""C++ on processors: cpu.cpp and kernel.h, built by `make ops`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

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


def refusals(
    value: Tensor,
    shapes: Sequence[Sequence[int]],
    places: Tensor,
    weights: Tensor,
    around: Tensor | None = None,
) -> list[str]:
    """Other devices, dtypes and numbers of axes; levels without a position."""
    reasons = []
    exact = torch.float64 if value.dtype == torch.float64 else torch.float32
    if value.device.type != "cpu":
        reasons.append(f"needs CPU tensors, got {value.device}")
    if value.dtype not in tolerance:
        reasons.append(f"values of {value.dtype}")
    if places.dtype != exact or (around is not None and around.dtype != exact):
        reasons.append(f"places of {places.dtype} where sums are {exact}")
    if weights.dtype not in (exact, value.dtype):
        reasons.append(f"weights of {weights.dtype} for values of {value.dtype}")
    if places.shape[-1] not in (2, 3):
        reasons.append(f"{places.shape[-1]} axes, not 2 or 3")
    if value.shape[1] >= 2**31 or not all(prod(shape) for shape in shapes):
        reasons.append("2^31 positions, or a level without one")
    return reasons
