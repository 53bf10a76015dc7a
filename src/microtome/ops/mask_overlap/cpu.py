"""C++ on processors: cpu.cpp, built by `make ops`."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import library
from .operator import run

__all__ = ["lacking", "refusals", "run", "tolerance"]

tolerance: dict[torch.dtype, float] = {}  # the very same counts
lacking = library.lacking()
_KNOWN = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def refusals(a: Tensor, b: Tensor) -> list[str]:
    """Other devices, and unsigned integers of more than 8 bits."""
    reasons = [f"needs CPU tensors, got {x.device}" for x in (a, b) if x.device.type != "cpu"]
    return reasons + [f"label maps of {x.dtype}" for x in (a, b) if x.dtype not in _KNOWN]
