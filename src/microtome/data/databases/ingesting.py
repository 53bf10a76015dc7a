"""A folder of volumes becomes OME-Zarr and a SQLite file with a row for each.

    OUTPUT/volumes.sqlite       the tables `images` and `labels`
    OUTPUT/volumes/NAME.zarr    OME-Zarr, its label map in `labels/objects`

A volume is written under a temporary name and then renamed; `volumes.sqlite` is written last. So
what was killed goes on where it stood when it is started again.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...geometry import Spacing, per_axis, window
from ..label_maps import wrong_shape
from ..records import ManifestError, Record, unique_names
from ..stores import ImageReadError, create_image, create_labels, read_labels
from ..stores.decoded import Decoded, Raw
from ..stores.decoding import decode
from .joining import SPACE, SPACING, Row
from .writing import write_database

DATABASE, VOLUMES, UNFINISHED = "volumes.sqlite", "volumes", ".part"
OBJECTS = "objects"  # what the label maps are called


def ingest(
    records: Sequence[Record],
    output: Path,
    *,
    names: str | None = None,
    spacing: float | Sequence[float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the volumes of image files, with their label maps, and the database; return its path.

    One volume at a time is in memory.

    Args:
        records: the image and label files.
        output: the folder to write.
        names: a regular expression for image names; each named bracket, as in
            `(?P<specimen>Emb\\d+)_t(?P<minute>\\d+)`, becomes a column.
        spacing: micrometres per pixel, one or one per axis; without it the files are asked.
        progress: called with (done, total) after each volume.

    Raises FileExistsError when the database is there already; ManifestError listing all names that
    the expression does not fit; ImageReadError for files that cannot be read or differ in shape.
    """
    database = output / DATABASE
    if database.exists():
        raise FileExistsError(f"{database} is there already; choose another folder")
    columns = _columns(records, names)
    images: list[Row] = []
    labels: list[Row] = []
    pairs = zip(records, unique_names(records), columns, strict=True)
    for number, (record, name, found) in enumerate(pairs, 1):
        image, label = _written(record, output / VOLUMES / f"{name}.zarr", spacing)
        images.append({"img_id": number, **image, **found})
        if label is not None:
            labels.append({"label_id": len(labels) + 1, "img_id": number, **label})
        if progress is not None:
            progress(number, len(records))
    shutil.rmtree(output / VOLUMES / UNFINISHED, ignore_errors=True)
    write_database(database, {"images": images, "labels": labels})
    return database


def _columns(records: Sequence[Record], names: str | None) -> list[Row]:
    """What the images' names say; a column whose values are all numbers holds integers."""
    if names is None:
        return [{} for _ in records]
    try:
        expression = re.compile(names)
    except re.error as error:
        raise ManifestError("names", [f"{names!r} is no regular expression ({error})"]) from None
    found = [expression.search(record.name) for record in records]
    wrong = [
        f"{r.image} does not fit {names!r}" for r, m in zip(records, found, strict=True) if not m
    ]
    taken = sorted(
        expression.groupindex.keys() & {"img_id", "img_path", "dtype", *"tczyx", *SPACING}
    )
    wrong += [f"the column {name} is taken" for name in taken]
    if wrong or not expression.groupindex:
        raise ManifestError("names", wrong or [f"{names!r} names no bracket: (?P<specimen>...)"])
    rows = [match.groupdict() for match in found if match]
    for name in expression.groupindex:
        if all((row[name] or "").isdecimal() for row in rows):
            rows = [{**row, name: int(row[name])} for row in rows]
    return rows


def _written(
    record: Record, target: Path, spacing: float | Sequence[float] | None
) -> tuple[Row, Row | None]:
    """The rows of an image and of its label map, once they stand in `target`."""
    image = decode(record.image)
    shape = image.values.shape[1:]
    steps = image.spacing if spacing is None else per_axis(spacing, len(shape))
    labels = None if record.labels is None else read_labels(record.labels)
    wrong = None if labels is None else wrong_shape(labels.shape, shape)
    if wrong:
        raise ImageReadError(record.labels or "", wrong)
    if not target.exists():
        _write(image, labels, steps, target)
    path = f"{VOLUMES}/{target.name}"
    sides = dict(zip(SPACE[-len(shape) :], shape, strict=True))
    scales = dict(zip(SPACING[-len(shape) :], steps or (None,) * len(shape), strict=True))
    kind = str(image.values.dtype)
    row = {"img_path": path, "dtype": kind, "t": 1, "c": len(image.values), **sides, **scales}
    if labels is None:
        return row, None
    count = len(np.unique(labels[labels > 0]))
    place = {"label_path": f"{path}/labels/{OBJECTS}", "dtype": str(labels.dtype)}
    return row, {**place, "t0": 0, "t1": 1, **sides, "objects": count}


def _write(image: Decoded, labels: Raw | None, steps: Spacing | None, target: Path) -> None:
    part = target.parent / UNFINISHED / target.name
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    values, shape = image.values, image.values.shape[1:]
    store = create_image(
        part, shape, spacing=steps, channels=image.channels, dtype=_stored(values.dtype)
    )
    store.write(window(values.shape), values)
    store.finish()
    if labels is not None:
        kind = _stored(labels.dtype)
        objects = create_labels(part, shape, spacing=steps, dtype=kind, name=OBJECTS)
        objects.write(window(shape), labels)
        objects.finish()
    part.rename(target)


def _stored(kind: np.dtype[np.generic]) -> np.dtype[np.generic]:
    return np.dtype(np.uint8) if kind.kind == "b" else kind
