"""Triton on GPUs: kernels.py, launched by launch.py."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import launching
from .operator import run

__all__ = ["lacking", "refusals", "run", "tolerance"]

tolerance: dict[torch.dtype, float] = {}  # the very same indices
lacking = launching.lacking()
_MOST = 2**17  # boxes, whose bits take 2 GiB


def refusals(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float) -> list[str]:
    """Other devices and dtypes; more boxes than their table of bits is worth."""
    reasons = []
    if boxes.device.type != "cuda":
        reasons.append(f"needs CUDA tensors, got {boxes.device}")
    if boxes.dtype == torch.float64:
        reasons.append("boxes of torch.float64")
    if boxes.shape[1] > 6:
        reasons.append(f"{boxes.shape[1] // 2} axes are more than 3")
    if boxes.shape[0] > _MOST:
        reasons.append(f"{boxes.shape[0]} boxes are more than {_MOST}")
    return reasons


def _suppress(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float) -> Tensor:
    from . import launch

    return launch.run(boxes, scores, groups, threshold)


torch.library.impl("microtome::nms", "CUDA", _suppress)
