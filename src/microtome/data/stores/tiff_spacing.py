"""Micrometres per pixel from a TIFF's ImageJ or OME metadata, where a unit of length is stated.

The plain resolution tags are not believed: most writers put 72 dots per inch there.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from ...geometry import Spacing
from .units import micrometres

Steps = tuple[float | None, float | None, float | None]


def spacing_of(file: Any, spatial_dims: int) -> Spacing | None:
    """Read `(z,) y, x`; None when one of them is not known."""
    known = tuple(s for s in steps_of(file)[-spatial_dims:] if s is not None)
    return known if len(known) == spatial_dims else None


def steps_of(file: Any) -> Steps:
    """Micrometres per pixel along z, y and x, None where not known."""
    if file.is_ome:
        return _from_ome(file.ome_metadata)
    if file.is_imagej:
        return _from_imagej(file.imagej_metadata or {}, file.pages[0].tags)
    return None, None, None


def channel_names(file: Any) -> tuple[str, ...]:
    """What OME metadata calls the channels; () where some have no name."""
    if not file.is_ome:
        return ()
    elements = ElementTree.fromstring(file.ome_metadata).iter()
    names = tuple(e.attrib.get("Name", "") for e in elements if e.tag.endswith("}Channel"))
    return names if all(names) and len(set(names)) == len(names) else ()


def _from_ome(xml: str) -> Steps:
    """The schema's default unit is the micrometre, so a size without a unit counts as stated."""
    pixels = next(
        (e for e in ElementTree.fromstring(xml).iter() if e.tag.endswith("}Pixels")), None
    )
    found = {} if pixels is None else pixels.attrib
    z, y, x = (
        micrometres(found.get(f"PhysicalSize{a}"), found.get(f"PhysicalSize{a}Unit", "µm"))
        for a in "ZYX"
    )
    return z, y, x


def _from_imagej(metadata: dict[str, Any], tags: Any) -> Steps:
    """Resolution tags hold pixels per `unit`; `spacing` is the step in z in the same unit."""
    unit = str(metadata.get("unit", ""))
    per_unit = [tags.valueof(code) for code in (283, 282)]  # y, x
    y, x = (micrometres(r[1] / r[0], unit) if r and r[0] else None for r in per_unit)
    return micrometres(metadata.get("spacing"), unit), y, x
