"""C++ on processors: cpu.cpp, built by `make ops`."""

from __future__ import annotations

from typing import Any

from .. import library
from ..limits import CPU
from .operator import refused, run

__all__ = ["lacking", "refusals", "run", "tolerance"]

tolerance = CPU.tolerance
lacking = library.lacking()


def refusals(*args: Any) -> list[str]:
    """Other devices, dtypes and numbers of axes; values without a pixel."""
    return refused(CPU, *args)
