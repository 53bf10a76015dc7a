"""C++ on processors: cpu.cpp and kernel.h, built by `make ops`."""

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
    shapes: Sequence[Sequence[int]],
    places: Tensor,
    weights: Tensor,
    around: Tensor | None = None,
) -> list[str]:
    """Other devices, dtypes and numbers of axes; levels without a position."""
    reasons = [
        *CPU.of_values(value, "values"),
        *CPU.of_places(value, "places", places, around),
        *CPU.of_weights(value, weights, "weights"),
        *of_axes(places.shape[-1], (2, 3)),
    ]
    if value.shape[1] >= 2**31 or not all(prod(shape) for shape in shapes):
        reasons.append("2^31 positions, or a level without one")
    return reasons
