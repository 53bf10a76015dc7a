"""C++ on processors: cpu.cpp and kernel.h, built by `make ops`."""

from __future__ import annotations

from torch import Tensor

from .. import library
from ..limits import CPU, of_axes
from .operator import run

__all__ = ["lacking", "refusals", "run", "tolerance"]

tolerance = CPU.tolerance
lacking = library.lacking()


def refusals(maps: Tensor, points: Tensor, mode: str = "linear") -> list[str]:
    """Other devices, dtypes and numbers of axes."""
    return [
        *CPU.of_values(maps, "maps"),
        *CPU.of_places(maps, "points", points),
        *of_axes(points.shape[-1], (1, 2, 3)),
    ]
