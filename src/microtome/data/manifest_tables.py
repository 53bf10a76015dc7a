"""The keys of a manifest that lead to other files: folders, and tables of groups and classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import manifest_keys as keys
from .folders import Folders
from .objects.outlines import read_coco
from .spelling import unknown
from .stores import ImageReadError
from .tables import Column, ObjectTable

LYING = ("images", "masks", "labels", "annotations")


def folders(given: Any, root: Path, problems: list[str]) -> Folders | None:
    """`folders`, with its paths made absolute or relative as `root` is."""
    if not isinstance(given, Mapping) or "images" not in given:
        problems.append(f'folders: expected {{"images": ..., "masks": ...}}, got {given!r}')
        return None
    problems += [f"folders: {p}" for p in unknown(given, Folders._fields, "key")]
    words = ("mask_suffix", "labels_suffix", "object_masks", "group_pattern")
    kinds: dict[str, type] = {"skip_unpaired": bool} | dict.fromkeys(words, str)
    options = {k: v for k, v in given.items() if k in kinds and v is not None}
    for key, value in options.items():
        if not isinstance(value, kinds[key]):
            problems.append(f"folders: {key}: expected {kinds[key].__name__}, got {value!r}")
    lying = {k: keys.path(given, k, root, "folders", problems) for k in LYING}
    objects = [k for k in ("labels", "object_masks", "annotations") if given.get(k) is not None]
    if len(objects) > 1 or (given.get("annotations") and given.get("masks")):
        problems.append(f"folders: {' and '.join(objects)}: give one of what says the objects")
    try:
        re.compile(str(given.get("group_pattern", "")))
    except re.error as error:
        problems.append(f"folders: group_pattern: {error}")
    table = given.get("group_table")
    group = None if table is None else _column(table, root, "group_table", problems)
    if lying["images"] is None:
        return None
    found = Folders(lying["images"], lying["masks"], lying["labels"], group_table=group)
    return found._replace(annotations=lying["annotations"], **options)


def class_table(
    given: Any, root: Path, problems: list[str]
) -> tuple[Column, dict[str, int]] | None:
    """`class_table` of images: the column, and the class of each word in it."""
    if given is None:
        return None
    values = given.get("values") if isinstance(given, Mapping) else None
    if not isinstance(values, Mapping) or not all(keys.is_count(v) for v in values.values()):
        problems.append(f'class_table: values: expected {{"benign": 1, ...}}, got {values!r}')
        return None
    column = _column(
        {k: v for k, v in given.items() if k != "values"}, root, "class_table", problems
    )
    return column and (column, dict(values))


def object_table(given: Any, root: Path, problems: list[str]) -> ObjectTable | None:
    """`class_table` with `id`: of single objects."""
    if not isinstance(given, Mapping) or "id" not in given:
        return None
    if not all(isinstance(given.get(k), str) for k in ObjectTable._fields):
        expected = ", ".join(f'"{k}": ...' for k in ObjectTable._fields)
        problems.append(f"class_table: expected {{{expected}}}, got {given!r}")
        return None
    wrong = unknown(given, ObjectTable._fields, "key")
    if "values" in given:
        wrong = ["values: write them as object_classes, which are for every source of objects"]
    problems += [f"class_table: {p}" for p in wrong]
    return ObjectTable(root / given["csv"], given["key"], given["id"], given["column"])


def category_names(given: Any, root: Path, problems: list[str]) -> list[str]:
    """The categories of the COCO files that `folders` name; none where they name none."""
    parts = given.values() if isinstance(given, Mapping) and "images" not in given else [given]
    names: list[str] = []
    for part in parts:
        file = part.get("annotations") if isinstance(part, Mapping) else None
        if not isinstance(file, str):
            continue
        try:
            names += read_coco(root / file).names
        except ImageReadError as error:
            problems.append(str(error))
    return list(dict.fromkeys(names))


def _column(given: Any, root: Path, where: str, problems: list[str]) -> Column | None:
    """`{"csv", "key", "column"}`."""
    if not isinstance(given, Mapping) or not all(
        isinstance(given.get(k), str) for k in Column._fields
    ):
        problems.append(
            f'{where}: expected {{"csv": ..., "key": ..., "column": ...}}, got {given!r}'
        )
        return None
    problems += [f"{where}: {p}" for p in unknown(given, Column._fields, "key")]
    return Column(root / given["csv"], given["key"], given["column"])
