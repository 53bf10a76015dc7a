"""C++ on processors: cpu.cpp and kernel.h, built by `make ops`."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import library
from ..limits import CPU, of_axes
from .operator import run

__all__ = ["lacking", "refusals", "run", "tolerance"]

tolerance = {dtype: CPU.tolerance[dtype] for dtype in (torch.float64, torch.float32)}
lacking = library.lacking()


def refusals(boxes: Tensor, others: Tensor, kind: str = "iou") -> list[str]:
    """Other devices and numbers of axes."""
    return [
        *CPU.of_device(boxes),
        *CPU.of_device(others),
        *of_axes(boxes.shape[1] // 2, (1, 2, 3)),
    ]
