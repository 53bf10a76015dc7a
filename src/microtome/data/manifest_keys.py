"""The keys of a manifest, one checker each: what is wrong goes on a list, so that all is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, cast, get_args

from ..structures import Classes
from .records import LabelsEncoding, Reading
from .stores.channels import ChannelPolicy
from .stores.label_files import Encoding
from .stores.places import from_root

_CLASSES = ("num_classes", "class_names", "things", "colors", "ignore_index", "exclusive")
_MASKS = ("mask_values", "mask_encoding", "labels_encoding", "object_classes")
TOP = (*_CLASSES, *_MASKS, "spacing_um", "levels", "channels")
_CHOICES = {
    "channels": ChannelPolicy,
    "mask_encoding": Encoding,
    "labels_encoding": LabelsEncoding,
}


def is_count(value: Any) -> bool:
    """A whole number from 0 on; `true` is none."""
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)


def reading(given: Mapping[str, Any], table: Classes, problems: list[str]) -> Reading:
    """How files are read."""
    levels = given.get("levels")
    chosen = {}
    for key, kind in _CHOICES.items():
        known = get_args(kind)
        chosen[key] = given.get(key, known[0])
        if chosen[key] not in known:
            problems.append(f"{key}: expected {', '.join(known)}, got {chosen[key]!r}")
    if levels is not None and not (_is_pair(levels) or is_list(levels, _is_pair)):
        problems.append(f"levels: expected [black, white], once or per channel, got {levels!r}")
        levels = None
    return Reading(
        levels=_tuples(levels),
        spacing=spacing(given, "spacing_um", problems),
        mask_values=_mask_values(given.get("mask_values"), table, problems),
        object_classes=_object_classes(given.get("object_classes"), table, problems),
        **chosen,
    )


def _mask_values(given: Any, table: Classes, problems: list[str]) -> dict[int, int] | None:
    if given is None:
        return None
    whole = isinstance(given, Mapping) and all(
        re.fullmatch(r"\d+", str(k)) and type(v) is int for k, v in given.items()
    )
    if not whole or not given:
        problems.append(f'mask_values: expected {{"0": 0, "255": 1}}, got {given!r}')
        return None
    problems += _no_classes("mask_values", given, table)
    return {int(k): v for k, v in given.items()}


def _object_classes(given: Any, table: Classes, problems: list[str]) -> dict[str, int] | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or not all(type(v) is int for v in given.values()):
        problems.append(f'object_classes: expected {{"Tumor": 1, "*": 0}}, got {given!r}')
        return None
    problems += _no_classes("object_classes", given, table)
    return {str(k): v for k, v in given.items()}


def _no_classes(key: str, given: Mapping[Any, int], table: Classes) -> list[str]:
    allowed = (*range(table.num_classes), table.ignore_index)
    return [
        f"{key}: {v} is neither a class (0 to {table.num_classes - 1}) "
        f"nor ignore_index {table.ignore_index}"
        for v in given.values()
        if v not in allowed
    ]


def spacing(
    given: Mapping[str, Any], where: str, problems: list[str]
) -> float | tuple[float, ...] | None:
    """`spacing_um` of the whole set or of one entry."""
    value = given.get("spacing_um")
    if value is None or (_is_number(value) and value > 0):
        return cast("float | None", value)
    if is_list(value, lambda v: _is_number(v) and v > 0) and value:
        return tuple(value)
    problems.append(f"{where}: expected micrometres per pixel, one or [z, y, x], got {value!r}")
    return None


def path(
    given: Mapping[str, Any], key: str, root: Path, where: str, problems: list[str]
) -> Path | None:
    """A path relative to `root`, or a URL; None when it is null or missing."""
    value = given.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        problems.append(f"{where}: {key}: expected a path, got {value!r}")
        return None
    return from_root(root, value)


def described(table: Classes, reading: Reading) -> dict[str, Any]:
    """The inverse: the keys that say a class table and how files are read."""
    listed = [table.names.index(name) for name in table.members]
    said: dict[str, Any] = {
        "num_classes": len(listed),
        "class_names": list(table.members),
        "things": [n for n, thing in zip(table.names, table.things, strict=False) if thing] or None,
        "colors": [list(table.colours[i]) for i in listed] if table.colours else None,
        "ignore_index": table.ignore_index,
        "exclusive": None if table.exclusive else False,
        "mask_values": reading.mask_values and {str(k): v for k, v in reading.mask_values.items()},
        "mask_encoding": None if reading.mask_encoding == "index" else reading.mask_encoding,
        "labels_encoding": None if reading.labels_encoding == "index" else reading.labels_encoding,
        "object_classes": reading.object_classes and dict(reading.object_classes),
        "spacing_um": reading.spacing,
        "levels": reading.levels,
        "channels": reading.channels,
    }
    return {k: v for k, v in said.items() if v is not None}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def is_list(value: Any, item: Any) -> bool:
    """A list whose items all pass `item`."""
    return isinstance(value, list | tuple) and all(item(v) for v in value)


def _is_pair(value: Any) -> bool:
    return is_list(value, _is_number) and len(value) == 2 and value[0] < value[1]
