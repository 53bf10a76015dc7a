"""Triton on GPUs: kernels.py, launched by launch.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import launching
from ..limits import GPU, of_axes
from .operator import run

__all__ = ["lacking", "refusals", "run", "tolerance"]

tolerance = GPU.tolerance
lacking = launching.lacking()


def refusals(maps: Tensor, *others: Any) -> list[str]:
    """Other devices, dtypes and numbers of axes."""
    return GPU.of_values(maps, "maps") + of_axes(maps.ndim - 2, (1, 2, 3))


def _pool(*args: Any) -> Tensor:
    from . import launch

    return launch.forward(*args)


def _spread(*args: Any) -> Tensor:
    from . import launch

    return launch.backward(*args)


torch.library.impl("microtome::roi_align", "CUDA", _pool)
torch.library.impl("microtome::roi_align_backward", "CUDA", _spread)
