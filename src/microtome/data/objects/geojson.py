"""GeoJSON as QuPath exports it: one file for each image, coordinates `x, y` in its pixels.

A FeatureCollection, a list of features or a single one; Polygon and MultiPolygon with holes; the
class is `properties.classification`, as an object with `name` or `names`, or a plain word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...geometry import Shape
from ...structures.polygons import Polygon
from ..stores import ImageReadError
from .parts import Part, rasterised

JOINED = ": "  # how QuPath writes a class that is derived from others


def features(file: Path, content: Any, shape: Shape) -> list[Part]:
    """The objects in a file, numbered from 1 on.

    Raises ImageReadError for what is no GeoJSON, and for geometries without an area.
    """
    found, problems = [], []
    for number, feature in enumerate(_listed(file, content), 1):
        try:
            geometry = feature["geometry"]
            polygons = _polygons(geometry["type"], geometry["coordinates"])
            word = _word(feature.get("properties") or {})
        except (TypeError, LookupError, ValueError, AttributeError) as error:
            problems.append(f"feature {number}: {error}")
            continue
        found.append(rasterised(number, polygons, shape, word))
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ImageReadError(file, "; ".join(problems[:3]) + more)
    return found


def _listed(file: Path, content: Any) -> list[Any]:
    if isinstance(content, Mapping) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    elif isinstance(content, Mapping) and content.get("type") == "Feature":
        content = [content]
    if not isinstance(content, list):
        raise ImageReadError(file, "expected GeoJSON, a FeatureCollection, or annotations of COCO")
    return content


def _polygons(kind: str, coordinates: Any) -> Iterable[Polygon]:
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"a {kind} has no area; remove it, or export areas only")
    several = [coordinates] if kind == "Polygon" else coordinates
    return [Polygon(*_rings(rings)) for rings in several]


def _rings(rings: Any) -> tuple[Any, tuple[Any, ...]]:
    """Exterior and holes, `y, x`, without the closing point."""
    flipped = [np.asarray(ring, np.float64)[:-1, 1::-1] for ring in rings]
    return flipped[0], tuple(flipped[1:])


def _word(properties: Mapping[str, Any]) -> str | None:
    given = properties.get("classification")
    if isinstance(given, Mapping):
        names = given.get("names")
        return JOINED.join(map(str, names)) if names else given.get("name")
    return None if given is None else str(given)
