"""The JSON manifest of a data set: classes, files per split, how they are read.

    {"num_classes": 2, "class_names": ["skin", "lesion"], "mask_values": {"0": 0, "255": 1},
     "data": {"train": [{"image_path": "images/1.jpg", "mask_path": "masks/1.png"}],
              "val": [...], "test": [{"image_path": "images/9.jpg", "mask_path": null}]}}

Paths are relative to the manifest. Instead of "data" there may be "folders" and "split":

     "folders": {"images": "images", "masks": "masks", "mask_suffix": "_segmentation",
                 "group_table": {"csv": "patients.csv", "key": "image", "column": "patient"}},
     "split": {"val": {"groups": [1, 3, 9]}, "test": {"fraction": 0.2}, "seed": 0}

or "folders" for each split: {"train": {"images": ...}, "val": {"images": ...}}.

An entry with a "value" but neither mask nor labels is of that class everywhere.

Objects with numbers ("labels_path") but no mask get one class from a CSV file, else class 1:

     "class_table": {"csv": "grade.csv", "key": "name", "column": "grade",
                     "values": {"benign": 1, "malignant": 2}}

With "id", the column of an object's number, the table says the class of each object by a word.
Words are names of classes, in tables as in outlines of COCO and QuPath, or stand here:

     "object_classes": {"Tumor": 1, "Tumour": 1, "Region*": 0, "doubtful": 255, "*": 0}
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..files import whole
from . import manifest_keys as keys
from . import manifest_tables as tables
from .manifest_classes import named_classes, with_categories
from .manifest_entries import entries, entry_of, from_folders, relative, with_values
from .records import SPLITS, Catalogue, ManifestError
from .spelling import unknown
from .splits import Splits
from .stores.places import from_root, place_of

PATHS = ("image_path", "mask_path", "labels_path", *tables.LYING, "csv")


def read_manifest(path: str | os.PathLike[str]) -> Catalogue:
    """Read a manifest; whether its files exist is for `inspect` to say.

    Raises ManifestError listing everything wrong with it, JSON mistakes with line and column.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(file, [f"cannot be read ({error})"]) from None
    try:
        description = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ManifestError(file, [_json_mistake(text, error)]) from None
    except KeyError as error:
        raise ManifestError(file, [f"the key {error} stands twice in one object"]) from None
    return parse_manifest(description, file.parent, str(file))


def parse_manifest(description: Any, root: Path, source: str = "manifest") -> Catalogue:
    """Check a manifest that is already plain data; its paths are relative to `root`.

    Raises ManifestError listing everything wrong with it.
    """
    if not isinstance(description, Mapping):
        raise ManifestError(source, ["expected an object { ... } on the outside"])
    problems = unknown(description, (*keys.TOP, "data", "folders", "split", "class_table"), "key")
    if ("data" in description) == ("folders" in description):
        problems.append('expected either "data" or "folders" with "split"')
    categories = tables.category_names(description.get("folders"), root, problems)
    description = with_categories(description, categories, problems)
    classes = named_classes(description, problems)
    reading = keys.reading(description, classes, problems)
    by_object = tables.object_table(description.get("class_table"), root, problems)
    reading = replace(reading, object_table=by_object)
    splits: Splits = dict.fromkeys(SPLITS, ())
    if "data" in description:
        splits = entries(description["data"], root, problems)
    elif "folders" in description:
        splits = from_folders(description, root, problems)
    table = None if by_object else description.get("class_table")
    splits = with_values(splits, table, root, problems, by_object=by_object is not None)
    if any(r.labels for records in splits.values() for r in records):
        if not classes.exclusive:
            problems.append("exclusive: classes that overlap are said by masks, not by `labels`")
        things = classes.things or (False,) + (True,) * (classes.num_classes - 1)
        classes = classes._replace(things=things)
    for records in splits.values():
        wrong = {r.value for r in records if r.value is not None and r.value >= classes.num_classes}
        problems += [
            f"value {v} is not below num_classes {classes.num_classes}" for v in sorted(wrong)
        ]
    if problems:
        raise ManifestError(source, list(dict.fromkeys(problems)))
    return Catalogue(classes, splits, reading)


def located(manifest: Any, root: Path) -> Any:
    """Make the paths in a manifest, or that of its file, absolute: they start from `root`."""
    if isinstance(manifest, str):
        return place_of(from_root(root, manifest))
    if isinstance(manifest, list):
        return [located(part, root) if isinstance(part, dict) else part for part in manifest]
    return {
        key: located(part, root)
        if isinstance(part, dict | list) or (isinstance(part, str) and key in PATHS)
        else part
        for key, part in manifest.items()
    }


def write_manifest(catalogue: Catalogue, path: str | os.PathLike[str]) -> None:
    """Write a manifest with every file listed, so that a split is kept; paths become relative."""
    target = Path(path)
    data = {
        name: [entry_of(record, target.parent) for record in records]
        for name, records in catalogue.splits.items()
    }
    described = keys.described(catalogue.classes, catalogue.reading)
    table = catalogue.reading.object_table
    if table is not None:
        described["class_table"] = table._asdict() | {"csv": relative(table.csv, target.parent)}
    described["data"] = data
    with whole(target) as part:
        part.write_text(json.dumps(described, indent=1) + "\n")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Json keeps the last of two equal keys without a word; here that is an error."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise KeyError(key)
        made[key] = value
    return made


def _json_mistake(text: str, error: json.JSONDecodeError) -> str:
    """The place, and the commonest cause: Python tells it at the comma or at the bracket after."""
    where = f"line {error.lineno}, column {error.colno}"
    around = re.search(r",\s*$", text[: error.pos]), re.match(r",?\s*([\]}])", text[error.pos :])
    if around[1] and (around[0] or around[1][0].startswith(",")):
        return f"{where}: a comma before {around[1][1]!r}: remove the comma"
    return f"{where}: not JSON ({error.msg})"
