"""C++ on processors: cpu.cpp, built by `make ops`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor

from .. import library
from ..limits import CPU, of_axes
from .operator import run

__all__ = ["lacking", "refusals", "run", "tolerance"]

tolerance = CPU.tolerance
lacking = library.lacking()


def refusals(
    value: Tensor,
    offsets: Tensor,
    modulation: Tensor,
    lattice: Sequence[Sequence[int]],
    softmax: bool = False,
) -> list[str]:
    """Other devices, dtypes and numbers of axes; values without a pixel."""
    reasons = [
        *CPU.of_values(value, "values"),
        *CPU.of_places(value, "offsets", offsets),
        *CPU.of_weights(value, modulation, "modulation"),
        *of_axes(offsets.shape[-1], (2, 3)),
    ]
    if not 0 < prod(value.shape[1:-2]) < 2**31:
        reasons.append("a value without a pixel, or with 2^31")
    return reasons
