"""Micrometres per pixel from a TIFF's ImageJ or OME metadata, where a unit of length is stated.

The plain resolution tags are not believed: most writers put 72 dots per inch there.
"""

from __future__ import annotations

from math import isfinite
from typing import Any
from xml.etree import ElementTree

from ...geometry import Spacing

_MICROMETRES = {
    "nm": 1e-3, "nanometer": 1e-3, "nanometre": 1e-3,
    "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0,
    "micrometer": 1.0, "micrometre": 1.0, "\\u00b5m": 1.0,
    "mm": 1e3, "millimeter": 1e3, "millimetre": 1e3,
    "cm": 1e4, "m": 1e6,
}  # fmt: skip


def spacing_of(file: Any, spatial_dims: int) -> Spacing | None:
    """Read `(z,) y, x`; None when one of them is not known."""
    if file.is_ome:
        steps = _from_ome(file.ome_metadata)
    elif file.is_imagej:
        steps = _from_imagej(file.imagej_metadata or {}, file.pages[0].tags)
    else:
        return None
    known = tuple(s for s in steps[-spatial_dims:] if s is not None and isfinite(s) and s > 0)
    return known if len(known) == spatial_dims else None


def _from_ome(xml: str) -> tuple[float | None, ...]:
    """The schema's default unit is the micrometre, so a size without a unit counts as stated."""
    pixels = next(
        (e for e in ElementTree.fromstring(xml).iter() if e.tag.endswith("}Pixels")), None
    )
    found = {} if pixels is None else pixels.attrib
    return tuple(
        _scaled(found.get(f"PhysicalSize{a}"), found.get(f"PhysicalSize{a}Unit", "µm"))
        for a in "ZYX"
    )


def _from_imagej(metadata: dict[str, Any], tags: Any) -> tuple[float | None, ...]:
    """Resolution tags hold pixels per `unit`; `spacing` is the step in z in the same unit."""
    unit = str(metadata.get("unit", ""))
    per_unit = [tags.valueof(code) for code in (283, 282)]  # y, x
    sides = [_scaled(r[1] / r[0], unit) if r and r[0] else None for r in per_unit]
    return (_scaled(metadata.get("spacing"), unit), *sides)


def _scaled(value: Any, unit: str) -> float | None:
    factor = _MICROMETRES.get(unit.strip().lower())
    return None if value is None or factor is None else float(value) * factor
