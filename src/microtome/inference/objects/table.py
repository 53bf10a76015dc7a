"""The table of objects: a row for each, as CSV and as Parquet.

    image, id, class, score, pixels, area_um2 (volume_um3 in three dimensions),
    centroid_z_um …, centroid_z_px …, box_z0, box_y0, box_x0, box_z1, box_y1, box_x1

What is not known (a score, micrometres) is left empty. N objects, D axes.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...files import whole
from ...structures import Classes
from .found import FoundObjects
from .measuring import Measured

Table = Mapping[str, list[Any]]
DIGITS = 4  # after the point: a tenth of a nanometre


def table(image: str, found: FoundObjects, measured: Measured, classes: Classes) -> Table:
    """Make the columns, each [N].

    Args:
        image: what the image is called.
        found: the objects.
        measured: from `measure`.
        classes: names them.
    """
    dims, count = len(found.shape), len(found)
    axes, steps = "tzyx"[-dims:], found.spacing
    size = {2: "area_um2", 3: "volume_um3"}.get(dims, f"size_um{dims}")
    unit = None if steps is None else math.prod(steps)
    scores = None if found.scores is None else _rounded(found.scores)
    columns: dict[str, list[Any]] = {
        "image": [image] * count,
        "id": found.ids.tolist(),
        "class": [classes.names[k] for k in found.labels],
        "score": scores or [None] * count,
        "pixels": measured.pixels.tolist(),
        size: [None] * count if unit is None else _rounded(measured.pixels * unit),
    }
    for axis, place in zip(axes, measured.centroids.T, strict=True):
        step = None if steps is None else steps[axes.index(axis)]
        columns[f"centroid_{axis}_um"] = [None] * count if step is None else _rounded(place * step)
    for axis, place in zip(axes, measured.centroids.T, strict=True):
        columns[f"centroid_{axis}_px"] = _rounded(place)
    sides = [f"box_{axis}{side}" for side in (0, 1) for axis in axes]
    return columns | dict(zip(sides, measured.boxes.T.tolist(), strict=True))


def write_csv(path: Path, columns: Table) -> None:
    """Write a table with a line of names."""
    with whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_parquet(path: Path, columns: Table) -> None:
    """Write a table with types: text, int64 and float64."""
    with whole(path) as part:
        pq.write_table(pa.table({k: pa.array(v, _type(k)) for k, v in columns.items()}), part)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table that `write_csv` wrote, as text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def join_csv(path: Path, parts: Iterable[Path]) -> None:
    """Put the tables of many images under each other; they have the same columns."""
    with whole(path) as part, part.open("w", encoding="utf-8") as out:
        for number, one in enumerate(parts):
            with one.open(encoding="utf-8") as file:
                heading = file.readline()
                out.write(heading if number == 0 else "")
                out.writelines(file)


def _type(column: str) -> pa.DataType:
    if column in ("image", "class"):
        return pa.string()
    whole_numbers = column in ("id", "pixels") or column.startswith("box_")
    return pa.int64() if whole_numbers else pa.float64()


def _rounded(values: np.ndarray[Any, Any]) -> list[float]:
    rounded: list[float] = values.round(DIGITS).tolist()
    return rounded
