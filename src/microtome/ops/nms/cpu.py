"""C++ on processors: cpu.cpp and kernel.h, built by `make ops`."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import library
from ..limits import CPU
from .operator import run

__all__ = ["lacking", "refusals", "run", "tolerance"]

tolerance: dict[torch.dtype, float] = {}  # the very same indices
lacking = library.lacking()


def refusals(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float) -> list[str]:
    """Other devices and numbers of axes; more boxes than 32 bits count."""
    reasons = CPU.of_device(boxes)
    if boxes.shape[1] > 6:
        reasons.append(f"{boxes.shape[1] // 2} axes are more than 3")
    if boxes.shape[0] >= 2**31:
        reasons.append(f"{boxes.shape[0]} boxes are 2^31 or more")
    return reasons
