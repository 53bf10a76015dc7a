"""Rows of images and of label volumes joined, checked, and cut into tiles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...geometry import per_axis
from .tiles import tile_table

Row = dict[str, Any]
SPACE = ("z", "y", "x")
SPACING = tuple(f"spacing_{axis}" for axis in SPACE)
IMAGE = ("img_id", "img_path", "t", *SPACE, *SPACING)
LABEL = ("img_id", "label_path", "t0", "t1", *SPACE)
NEEDED = ("img_id", "img_path", "label_path", "y", "x")  # LABEL's y and x are compared if given
CORNERS = tuple(f"{axis}{end}" for axis in ("t", *SPACE) for end in (0, 1))


def tiles_of(
    images: Sequence[Row],
    labels: Sequence[Row],
    tile: int | Sequence[int] | None,
    problems: list[str],
) -> list[Row]:
    """A row per tile of each image and time, in the order of ids, times and places.

    Each holds its image's columns, `label_path` (None without labels) and its corners t0, t1, z0,
    … x1. An image whose `z` is missing or null has none: its corners there are 0 and 1.
    """
    problems += _twice(images)
    found = _labels_by_time(labels, {row["img_id"]: row for row in images}, problems)
    rows: list[Row] = []
    for image in sorted(images, key=lambda row: _sortable(row["img_id"])):
        wrong = _wrong_shape(image)
        if wrong:
            problems.append(f"image {image['img_id']!r}: {wrong}")
            continue
        rows += _tiles(image, found, tile, problems)
    return rows


def _tiles(
    image: Row, labels: Mapping[Any, str], tile: int | Sequence[int] | None, problems: list[str]
) -> Iterator[Row]:
    shape = shape_of(image)
    try:
        size = shape if tile is None else per_axis(tile, len(shape))
    except ValueError as error:
        problems.append(f"image {image['img_id']!r} has {len(shape)} axes; tile: {error}")
        return
    flat = len(shape) < len(SPACE)
    full, steps = ((image.get("t") or 1, *(1,) * flat, *s) for s in (shape, size))
    for start, stop in tile_table(full, (1, *steps[1:])).tolist():
        corners = zip(
            CORNERS, (v for pair in zip(start, stop, strict=True) for v in pair), strict=True
        )
        label = labels.get((image["img_id"], start[0]))
        yield image | {"label_path": label} | dict(corners)


def shape_of(row: Row) -> tuple[int, ...]:
    """(z,) y, x of an image's row."""
    return tuple(row[axis] for axis in SPACE if row.get(axis) is not None)


def whole_volumes(rows: Iterable[Row]) -> list[Row]:
    """A row per image and time, over all of it, in place of those of its tiles."""
    first = {(row["img_id"], row["t0"]): row for row in reversed(list(rows))}
    whole = []
    for row in reversed(first.values()):
        sides = {axis: row.get(axis) or 1 for axis in SPACE}
        corners = {f"{a}0": 0 for a in SPACE} | {f"{a}1": side for a, side in sides.items()}
        whole.append(row | corners)
    return whole


def _labels_by_time(
    labels: Sequence[Row], images: Mapping[Any, Row], problems: list[str]
) -> dict[Any, str]:
    """The label file of each (image, time); without times a row stands for all of them."""
    found: dict[Any, list[str]] = defaultdict(list)
    for row in labels:
        image = images.get(row["img_id"])
        if image is None:  # of an image that was not asked for
            continue
        given = {axis: row[axis] for axis in SPACE if row.get(axis) is not None}
        if any(given[axis] != image.get(axis) for axis in given):
            sides = " x ".join(str(side) for side in given.values())
            problems.append(
                f"{row['label_path']}: {sides} pixels, its image {image['img_path']} "
                + " x ".join(map(str, shape_of(image)))
            )
        first = row.get("t0") or 0
        last = image.get("t") or 1 if row.get("t1") is None else row["t1"]
        for time in range(first, last):
            found[row["img_id"], time].append(row["label_path"])
    problems += [
        f"image {key!r} at time {time} has {len(paths)} label volumes ({', '.join(paths[:3])}): "
        "a condition on the labels must choose one"
        for (key, time), paths in found.items()
        if len(paths) > 1
    ]
    return {key: paths[0] for key, paths in found.items()}


def _twice(images: Sequence[Row]) -> list[str]:
    seen: set[Any] = set()
    return [
        f"the img_id {row['img_id']!r} stands twice"
        for row in images
        if row["img_id"] in seen or seen.add(row["img_id"])  # type: ignore[func-returns-value]
    ]


def _wrong_shape(image: Row) -> str | None:
    sides = [image.get("t") or 1, *shape_of(image)]
    if len(sides) < 3 or not all(isinstance(s, int) and s > 0 for s in sides):
        found = {axis: image.get(axis) for axis in ("t", *SPACE)}
        return f"expected pixels >= 1 along t, z, y, x, got {found}"
    if not isinstance(image["img_path"], str) or not image["img_path"]:
        return "img_path is empty"
    return None


def _sortable(key: Any) -> tuple[str, Any]:
    return type(key).__name__, key
