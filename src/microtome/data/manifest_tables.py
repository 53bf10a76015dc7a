"""The keys of a manifest that lead to other files: folders, and tables of groups and classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import manifest_keys as keys
from .folders import Folders
from .spelling import unknown
from .tables import Column


def folders(given: Any, root: Path, problems: list[str]) -> Folders | None:
    """`folders`, with its paths made absolute or relative as `root` is."""
    if not isinstance(given, Mapping) or "images" not in given:
        problems.append(f'folders: expected {{"images": ..., "masks": ...}}, got {given!r}')
        return None
    problems += [f"folders: {p}" for p in unknown(given, Folders._fields, "key")]
    kinds = {"mask_suffix": str, "labels_suffix": str, "skip_unpaired": bool, "group_pattern": str}
    options = {k: v for k, v in given.items() if k in kinds and v is not None}
    for key, value in options.items():
        if not isinstance(value, kinds[key]):
            problems.append(f"folders: {key}: expected {kinds[key].__name__}, got {value!r}")
    lying = {
        k: keys.path(given, k, root, "folders", problems) for k in ("images", "masks", "labels")
    }
    try:
        re.compile(str(given.get("group_pattern", "")))
    except re.error as error:
        problems.append(f"folders: group_pattern: {error}")
    table = given.get("group_table")
    group = None if table is None else _column(table, root, "group_table", problems)
    if lying["images"] is None:
        return None
    found = Folders(lying["images"], lying["masks"], lying["labels"], group_table=group)
    return found._replace(**options)


def class_table(
    given: Any, root: Path, problems: list[str]
) -> tuple[Column, dict[str, int]] | None:
    """`class_table`: the column, and the class of each word in it."""
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
