"""What every database of images promises, and how its rows become a table of tiles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..spelling import unknown
from .cache import fingerprint, remembered
from .conditions import Condition
from .errors import DatabaseError
from .joining import IMAGE, LABEL, NEEDED, Row, tiles_of
from .schemas import DataSchema, LabelSchema, columns_of

Wanted = dict[str, Condition | None]


class Database(ABC):
    """Rows about images, from wherever they are kept.

    Attributes:
        name: what messages call it; holds no password.
        root: the folder that relative paths in its rows start from.
    """

    name: str
    root: Path

    @abstractmethod
    def columns(self, table: str) -> tuple[str, ...]:
        """The names of a table's columns.

        Raises DatabaseError when there is no such table, naming those there are.
        """

    @abstractmethod
    def fetch(self, table: str, wanted: Mapping[str, Condition | None]) -> list[Row]:
        """The rows that satisfy all conditions, with the columns that are named, as plain values.

        Times come in UTC, JSON as text. Raises DatabaseError listing everything wrong.
        """

    @abstractmethod
    def state(self, tables: Sequence[str]) -> str:
        """A word that changes whenever the content of the tables does."""

    def located(self, options: dict[str, Any]) -> dict[str, Any]:
        """The arguments this was made with, their paths such that they hold from any folder."""
        return options

    def initialise(
        self,
        data: DataSchema,
        labels: LabelSchema | None = None,
        *,
        tile: int | Sequence[int] | None = None,
        select: Sequence[str] = (),
        cache: Path | None = None,
    ) -> list[Row]:
        """A row per tile: where it lies, in which files, and what is known of its image.

        Args:
            data: the images that are wanted. Their table has the columns `img_id`, `img_path`,
                `y`, `x` (pixels), and where they apply `t`, `z` and `spacing_z`, `spacing_y`,
                `spacing_x` (micrometres).
            labels: the label volumes, joined by `img_id`; their table has `img_id` and
                `label_path`, and where they apply `t0`, `t1` (the times from t0 to before t1)
                and `z`, `y`, `x`. An image without labels keeps its row.
            tile: pixels of a tile, one value or one per axis (z,) y, x; None takes whole images.
                Every time is apart.
            select: further columns of the images that are wanted.
            cache: a Parquet file that keeps the table; it is used again as long as the question
                and the database are the same.

        Raises DatabaseError listing everything wrong with question and answer.
        """
        problems: list[str] = []
        asked = self._asked(data, (*select,), problems)
        joined = {} if labels is None else self._asked(labels, (), problems)
        if problems:
            raise DatabaseError(self.name, problems)

        def ask() -> list[Row]:
            images = self.fetch(data.table, asked)
            found = [] if labels is None else self.fetch(labels.table, joined)
            tiles = tiles_of(images, found, tile, problems)
            if not images:
                problems.append(f"no row of {data.table} satisfies the conditions")
            if problems:
                raise DatabaseError(self.name, problems)
            return tiles

        if cache is None:
            return ask()
        tables = [data.table] if labels is None else [data.table, labels.table]
        question = [data, labels, tile, list(select)]
        return remembered(cache, fingerprint(question, self.state(tables)), ask)

    def _asked(
        self, schema: DataSchema | LabelSchema, select: Sequence[str], problems: list[str]
    ) -> Wanted:
        """The columns of a schema's table that are wanted; what is wrong goes on the list."""
        keys = LABEL if isinstance(schema, LabelSchema) else IMAGE
        wanted = columns_of(schema, problems)
        try:
            there = self.columns(schema.table)
        except DatabaseError as error:
            problems += error.problems
            return wanted
        needed = [k for k in keys if k in NEEDED]
        problems += [f"{schema.table}: {p}" for p in unknown(needed, there, "column")]
        named = [name for name in (*wanted, *select) if name not in needed]
        problems += [f"{schema.table}: {p}" for p in unknown(named, there, "column")]
        keys = tuple(k for k in keys if k in there)
        return dict.fromkeys((*keys, *select)) | wanted
