"""C++ on processors: cpu.cpp, built by `make ops`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from .. import library
from ..deform_attn.cpu import tolerance
from .operator import run

__all__ = ["lacking", "refusals", "run", "tolerance"]

lacking = library.lacking()


def refusals(
    value: Tensor,
    offsets: Tensor,
    modulation: Tensor,
    lattice: Sequence[Sequence[int]],
    softmax: bool = False,
) -> list[str]:
    """Other devices, dtypes and numbers of axes; values without a pixel."""
    reasons = []
    exact = torch.float64 if value.dtype == torch.float64 else torch.float32
    if value.device.type != "cpu":
        reasons.append(f"needs CPU tensors, got {value.device}")
    if value.dtype not in tolerance:
        reasons.append(f"values of {value.dtype}")
    if offsets.dtype != exact:
        reasons.append(f"offsets of {offsets.dtype} where sums are {exact}")
    if modulation.dtype not in (exact, value.dtype):
        reasons.append(f"modulation of {modulation.dtype} for values of {value.dtype}")
    if offsets.shape[-1] not in (2, 3):
        reasons.append(f"{offsets.shape[-1]} axes, not 2 or 3")
    if not 0 < prod(value.shape[1:-2]) < 2**31:
        reasons.append("a value without a pixel, or with 2^31")
    return reasons
