"""Units of length, as image formats spell them, in micrometres."""

from __future__ import annotations

from math import isfinite
from typing import Any

_MICROMETRES = {
    "å": 1e-4, "angstrom": 1e-4,
    "nm": 1e-3, "nanometer": 1e-3, "nanometre": 1e-3,
    "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0,
    "micrometer": 1.0, "micrometre": 1.0, "\\u00b5m": 1.0,
    "mm": 1e3, "millimeter": 1e3, "millimetre": 1e3,
    "cm": 1e4, "centimeter": 1e4, "centimetre": 1e4,
    "m": 1e6, "meter": 1e6, "metre": 1e6,
}  # fmt: skip


def micrometres(value: Any, unit: object) -> float | None:
    """A length in micrometres; None where value or unit say none that is positive and finite."""
    factor = _MICROMETRES.get(str(unit).strip().lower())
    if value is None or factor is None:
        return None
    length = float(value) * factor
    return length if isfinite(length) and length > 0 else None
