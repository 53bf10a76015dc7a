"""Objects as polygons for QuPath: a GeoJSON FeatureCollection of detections.

Coordinates are x, y in pixels of the whole image, whole numbers along the borders of pixels, so
that rounding cannot make a ring cross itself. An object of a volume is a feature for each slice,
with QuPath's `plane`; they have the object's id in their measurements.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...files import whole
from ...structures import Classes
from ...structures.polygons import Polygon, to_polygons
from .found import FoundObjects
from .masks import ObjectMask, masks
from .measuring import Measured

ALL_CHANNELS = -1


def write_geojson(
    path: Path, image: str, found: FoundObjects, measured: Measured, classes: Classes
) -> None:
    """Write a feature for each object, one at a time; the same objects get the same UUIDs.

    Raises ValueError for more than three axes.
    """
    if len(found.shape) > 3:
        raise ValueError(f"QuPath knows slices, no more axes; got the shape {found.shape}")
    with whole(path) as part, part.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        features = (
            feature
            for one in masks(found, measured)
            for feature in _features(one, image, found, measured, classes)
        )
        for number, feature in enumerate(features):
            file.write((",\n" if number else "\n") + json.dumps(feature))
        file.write("\n]}\n")


def _features(
    one: ObjectMask, image: str, found: FoundObjects, measured: Measured, classes: Classes
) -> Iterator[dict[str, Any]]:
    """A feature for each slice; a 2D object has one."""
    identity = int(found.ids[one.item])
    properties = _properties(one.item, found, measured, classes)
    first = one.region[0].start if len(one.region) > 2 else None
    corner = np.array([part.start for part in one.region[-2:]])
    for depth, inside in enumerate(one.inside if first is not None else one.inside[None]):
        if not inside.any():
            continue
        z = None if first is None else first + depth
        name = f"{image}/{identity}" + ("" if z is None else f"/{z}")
        geometry = _geometry(to_polygons(inside), corner)
        if z is not None:
            geometry["plane"] = {"c": ALL_CHANNELS, "z": z, "t": 0}
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            "geometry": geometry,
            "properties": properties,
        }


def _properties(
    index: int, found: FoundObjects, measured: Measured, classes: Classes
) -> dict[str, Any]:
    kind = int(found.labels[index])
    measurements: dict[str, float] = {
        "Object ID": int(found.ids[index]),
        "Pixels": int(measured.pixels[index]),
    }
    if found.spacing is not None:
        unit = "Area µm^2" if len(found.shape) == 2 else "Volume µm^3"
        measurements[unit] = round(float(measured.pixels[index] * np.prod(found.spacing)), 4)
    if found.scores is not None:
        measurements["Score"] = round(float(found.scores[index]), 4)
    return {
        "objectType": "detection",
        "classification": {"name": classes.names[kind], "color": list(classes.palette[kind])},
        "measurements": measurements,
    }


def _geometry(polygons: list[Polygon], corner: Any) -> dict[str, Any]:
    areas = [[_closed(ring + corner) for ring in polygon.rings] for polygon in polygons]
    if len(areas) == 1:
        return {"type": "Polygon", "coordinates": areas[0]}
    return {"type": "MultiPolygon", "coordinates": areas}


def _closed(ring: Any) -> list[list[int]]:
    """`y, x` to GeoJSON's `x, y`, with the first point again at the end."""
    points = np.asarray(ring)[:, ::-1].astype(np.int64).tolist()
    return [*points, points[0]]
