"""C++ on processors: cpu.cpp, built by `make ops`."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import library
from ..limits import CPU
from .operator import run

__all__ = ["lacking", "refusals", "run", "tolerance"]

tolerance: dict[torch.dtype, float] = {}  # the very same counts
lacking = library.lacking()


def refusals(a: Tensor, b: Tensor) -> list[str]:
    """Other devices, and unsigned integers of more than 8 bits."""
    return CPU.of_labels(a, b)
