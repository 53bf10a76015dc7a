"""Columns of CSV files: a patient or grade for each image, a class for each object."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .manifest_error import ManifestError
from .spelling import unknown
from .stores import ImageReadError
from .stores.image_files import SUFFIXES
from .stores.places import name_of

_TOLD = 5


class Column(NamedTuple):
    """Where a value per image stands.

    Attributes:
        csv: the file; separated by commas, semicolons or tabs.
        key: the column that holds the image's stem (or file name).
        column: the column that holds the value.
    """

    csv: Path
    key: str
    column: str

    def read(self) -> dict[str, str]:
        """Values by stem.

        Raises ManifestError when the file or a column is missing or a stem has two values.
        """
        rows = _rows(self.csv, (self.key, self.column))
        values: dict[str, str] = {}
        twice = []
        for row in rows:
            name, value = _stem(row[self.key] or ""), (row[self.column] or "").strip()
            if values.setdefault(name, value) != value:
                twice.append(f"{name!r} has the values {values[name]!r} and {value!r}")
        if twice:
            raise ManifestError(self.csv, twice)
        return values


class ObjectTable(NamedTuple):
    """Where a word for each single object stands.

    Attributes:
        csv: the file; separated by commas, semicolons or tabs.
        key: the column that holds the image's stem (or file name).
        id: the column that holds the object's number.
        column: the column that holds the word.
    """

    csv: Path
    key: str
    id: str
    column: str

    def words(self, name: str, ids: Sequence[int]) -> list[str]:
        """The word of each object of the image `name`.

        Raises ImageReadError when the table cannot be read or an object is not in it.
        """
        try:
            known = _objects_once(self, self.csv.stat().st_mtime_ns).get(name, {})
        except OSError as error:
            raise ImageReadError(self.csv, f"cannot be read ({error})") from None
        except ManifestError as error:
            raise ImageReadError(error.source, "; ".join(error.problems[:_TOLD])) from None
        missing = [i for i in ids if i not in known]
        if missing:
            some = ", ".join(map(str, missing[:_TOLD])) + (", ..." if missing[_TOLD:] else "")
            raise ImageReadError(self.csv, f"says nothing of the objects {some} of {name}")
        return [known[i] for i in ids]


@lru_cache(maxsize=4)
def _objects_once(table: ObjectTable, changed: int) -> dict[str, dict[int, str]]:
    """Words by image and object; a file that was changed is read anew."""
    found: dict[str, dict[int, str]] = defaultdict(dict)
    problems = []
    for number, row in enumerate(_rows(table.csv, table[1:]), 2):
        said = (row[table.id] or "").strip()
        if not said.isdecimal():
            problems.append(f"line {number}: expected an object's number, got {said!r}")
            continue
        name, word = _stem(row[table.key] or ""), (row[table.column] or "").strip()
        if found[name].setdefault(int(said), word) != word:
            problems.append(f"line {number}: object {said} of {name} has two values")
    if problems:
        raise ManifestError(table.csv, problems)
    return dict(found)


def _rows(file: Path, columns: Sequence[str]) -> list[dict[str, str | None]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            separator = max(",;\t", key=stream.readline().count)
            stream.seek(0)
            table = csv.DictReader(stream, delimiter=separator)
            rows, known = list(table), table.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(file, [f"cannot be read ({error})"]) from None
    missing = unknown(columns, known, "column")
    if missing:
        raise ManifestError(file, missing)
    return rows


def _stem(name: str) -> str:
    path = Path(name.strip())
    return name_of(path) if path.suffix.lower() in SUFFIXES else path.name
