"""Triton on GPUs: kernels.py, launched by launch.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import launching
from .operator import run

__all__ = ["lacking", "refusals", "run", "tolerance"]

# sums in another order, in float32; half precision rounds the answer once
tolerance = {torch.float32: 1e-4, torch.bfloat16: 2**-7, torch.float16: 2**-9}
lacking = launching.lacking()


def refusals(maps: Tensor, *others: Any) -> list[str]:
    """Other devices, dtypes and numbers of axes."""
    reasons = []
    if maps.device.type != "cuda":
        reasons.append(f"needs CUDA tensors, got {maps.device}")
    if maps.dtype not in tolerance:
        reasons.append(f"maps of {maps.dtype}")
    if maps.ndim > 5:
        reasons.append(f"{maps.ndim - 2} axes are more than 3")
    return reasons


def _pool(*args: Any) -> Tensor:
    from . import launch

    return launch.forward(*args)


def _spread(*args: Any) -> Tensor:
    from . import launch

    return launch.backward(*args)


torch.library.impl("microtome::roi_align", "CUDA", _pool)
torch.library.impl("microtome::roi_align_backward", "CUDA", _spread)
