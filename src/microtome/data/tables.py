"""One column of a CSV file by image name: patients, grades."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from .records import ManifestError
from .spelling import unknown
from .stores.image_files import SUFFIXES
from .stores.source import name_of


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
        try:
            with self.csv.open(encoding="utf-8-sig", newline="") as file:
                separator = max(",;\t", key=file.readline().count)
                file.seek(0)
                table = csv.DictReader(file, delimiter=separator)
                rows, columns = list(table), table.fieldnames or ()
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ManifestError(self.csv, [f"cannot be read ({error})"]) from None
        missing = unknown((self.key, self.column), columns, "column")
        if missing:
            raise ManifestError(self.csv, missing)
        values: dict[str, str] = {}
        twice = []
        for row in rows:
            name, value = _stem(row[self.key] or ""), (row[self.column] or "").strip()
            if values.setdefault(name, value) != value:
                twice.append(f"{name!r} has the values {values[name]!r} and {value!r}")
        if twice:
            raise ManifestError(self.csv, twice)
        return values


def _stem(name: str) -> str:
    path = Path(name.strip())
    return name_of(path) if path.suffix.lower() in SUFFIXES else path.name
