"""The files of a manifest: entries listed one by one, or found in folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import manifest_keys as keys
from . import manifest_tables as tables
from .objects.outlines import is_outlines
from .records import SPLITS, ManifestError, Record
from .spelling import unknown
from .splits import Splits, split_by_group
from .stores.places import is_url, place_of
from .tables import Column

ENTRY = ("image_path", "mask_path", "labels_path", "group", "value", "spacing_um", "time")


def entries(data: Any, root: Path, problems: list[str]) -> Splits:
    """`data`: the files of each split, listed."""
    splits: Splits = dict.fromkeys(SPLITS, ())
    if not isinstance(data, Mapping):
        problems.append(f"data: expected the splits {', '.join(SPLITS)}")
        return splits
    problems += unknown(data, SPLITS, "split")
    for name in splits.keys() & data.keys():
        if not isinstance(data[name], list):
            problems.append(f"data.{name}: expected a list of entries")
            continue
        read = (_record(e, root, f"data.{name}[{i}]", problems) for i, e in enumerate(data[name]))
        splits[name] = tuple(r for r in read if r is not None)
    return splits


def _record(entry: Any, root: Path, where: str, problems: list[str]) -> Record | None:
    if not isinstance(entry, Mapping):
        problems.append(f'{where}: expected {{"image_path": ..., "mask_path": ...}}')
        return None
    problems += [f"{where}: {p}" for p in unknown(entry, ENTRY, "key")]
    files = [keys.path(entry, k, root, where, problems) for k in ENTRY[:3]]
    if files[0] is None:
        problems.append(f"{where}: image_path is missing")
        return None
    group, value = entry.get("group"), entry.get("value")
    if not (group is None or isinstance(group, str | int)):
        problems.append(f"{where}: group: expected a name, got {group!r}")
    if not (value is None or keys.is_count(value)):
        problems.append(f"{where}: value: expected a class index, got {value!r}")
        value = None
    time = entry.get("time")
    if not (time is None or keys.is_count(time)):
        problems.append(f"{where}: time: expected the number of a time point, got {time!r}")
    spacing = keys.spacing(entry, where, problems)
    group = None if group is None else str(group)
    return Record(files[0], files[1], files[2], group, value, spacing, time)


def from_folders(description: Mapping[str, Any], root: Path, problems: list[str]) -> Splits:
    """`folders` with `split`, or folders of their own for each split."""
    given, rule = description["folders"], description.get("split", {})
    none: Splits = dict.fromkeys(SPLITS, ())
    each = isinstance(given, Mapping) and bool(given) and given.keys() <= set(SPLITS)
    if not isinstance(rule, Mapping) or not keys.is_count(rule.get("seed", 0)) or (each and rule):
        problems.append(
            f'split: expected {{"val": ..., "test": ..., "seed": 0}}, and only where the folders '
            f"are not those of a split; got {rule!r}"
        )
    parts = given if each else {"": given}
    found = {name: tables.folders(part, root, problems) for name, part in parts.items()}
    if problems:
        return none
    try:
        records = {name: part.records() for name, part in found.items() if part is not None}
        if each:
            return none | {name: tuple(part) for name, part in records.items()}
        return _divided(records[""], rule)
    except ManifestError as error:
        problems += [f"{error.source}: {p}" for p in error.problems]
        return none


def _divided(records: list[Record], rule: Mapping[str, Any]) -> Splits:
    """Without a rule all images are for testing: nothing is learnt by accident."""
    if not rule:
        return {"train": (), "val": (), "test": tuple(records)}
    chosen = {name: v for name, v in rule.items() if name != "seed"}
    return split_by_group(records, chosen, rule.get("seed", 0))


def with_values(
    splits: Splits, given: Any, root: Path, problems: list[str], *, by_object: bool
) -> Splits:
    """Say the class of objects that have numbers but neither mask nor value.

    Args:
        splits: the files.
        given: `class_table`, as far as it is of images.
        root: where its path starts.
        problems: what is wrong goes here.
        by_object: whether a table says the class of each single object.
    """
    table = tables.class_table(given, root, problems)
    read: dict[str, str] = {}
    try:
        read = table[0].read() if table else {}
    except ManifestError as error:
        problems.append(str(error))
        return splits

    def valued(record: Record) -> Record:
        said = by_object or record.mask is not None or record.value is not None
        if record.labels is None or said or is_outlines(record.labels):
            return record
        if table is None:
            return record._replace(value=1)
        word = read.get(record.name)
        if word not in table[1]:
            problems.append(_no_value(record, word, table))
        return record._replace(value=table[1].get(word or ""))

    return {name: tuple(map(valued, records)) for name, records in splits.items()}


def _no_value(record: Record, word: str | None, table: tuple[Column, dict[str, int]]) -> str:
    column, values = table
    if word is None:
        return f"{record.name} is not in the column {column.key!r} of {column.csv}"
    return f"{record.name}: {word!r} is none of class_table's values {', '.join(values)}"


def relative(file: Path, folder: Path) -> str:
    """A path as it is written in a manifest that lies in `folder`; URLs stay as they are."""
    place = place_of(file)
    if is_url(place):
        return place
    return Path(os.path.relpath(file.absolute(), folder.absolute())).as_posix()


def entry_of(record: Record, folder: Path) -> dict[str, Any]:
    """The inverse: one entry, its paths relative to `folder`."""

    entry: dict[str, Any] = {
        "image_path": relative(record.image, folder),
        "mask_path": record.mask and relative(record.mask, folder),
        "labels_path": record.labels and relative(record.labels, folder),
        "group": record.group,
        "value": record.value,
        "spacing_um": record.spacing,
        "time": record.time,
    }
    return {k: v for k, v in entry.items() if v is not None}
