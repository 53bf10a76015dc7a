"""SQLite and PostgreSQL by SQLAlchemy: values are bound, names are those of the real schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sql

from ...files import sha256
from ..spelling import unknown
from .addresses import SQLITE, engine_of, named
from .clauses import clause, kind_of, utc
from .conditions import Condition
from .database import Database
from .errors import DatabaseError
from .joining import Row


class SQLDatabase(Database):
    """A SQLite file, or PostgreSQL by its URL; nothing is ever written to either.

    Args:
        url: `volumes.sqlite`, or `postgresql://user:$PGPASSWORD@host/database`: the password is
            taken from the environment, since the URL is kept in every checkpoint.
        root: the folder that relative paths in the rows start from; by default that of the SQLite
            file, and the current one for PostgreSQL.

    Raises DatabaseError for a URL that cannot be used; a server is asked later.
    """

    def __init__(self, url: str, root: str | None = None) -> None:
        self.url = url.removeprefix("sqlite:///")
        self._file = None if "://" in self.url else Path(self.url)
        self.name = named(self.url)
        self._engine = engine_of(self.url)
        self.dialect = self._engine.dialect.name
        default = Path() if self._file is None else self._file.parent
        self.root = default if root is None else Path(root)

    def columns(self, table: str) -> tuple[str, ...]:
        """The names of a table's columns."""
        return tuple(self._table(table).columns.keys())

    def fetch(self, table: str, wanted: Mapping[str, Condition | None]) -> list[Row]:
        """The rows that satisfy all conditions, with the columns that are named."""
        there = self._table(table)
        problems = [f"{table}: {p}" for p in unknown(wanted, there.columns.keys(), "column")]
        clauses = []
        for name, asked in wanted.items():
            if asked is not None and name in there.columns:
                try:
                    clauses.append(clause(there.columns[name], asked, self.dialect))
                except ValueError as error:
                    problems.append(f"{table}.{name}: {error}")
        if problems:
            raise DatabaseError(self.name, problems)
        columns = [there.columns[name] for name in wanted]
        texts = {c.name for c in columns if self.dialect == SQLITE and kind_of(c) is datetime}
        asked_for = [sql.type_coerce(c, sql.Text) if c.name in texts else c for c in columns]
        with self._asking() as connection:
            rows = connection.execute(sql.select(*asked_for).where(*clauses)).all()
        found = [dict(zip(wanted, row, strict=True)) for row in rows]
        return [{k: self._plain(k, v, k in texts) for k, v in row.items()} for row in found]

    def state(self, tables: Sequence[str]) -> str:
        """SQLite: the sha256 of its file; PostgreSQL: a sum over all rows, made by the server."""
        if self._file is None:
            return " ".join(self._sum(self._table(name)) for name in tables)
        wal = self._file.with_name(f"{self._file.name}-wal")  # what it has not yet taken in
        return " ".join(sha256(file) for file in (self._file, wal) if file.exists())

    def located(self, options: dict[str, Any]) -> dict[str, Any]:
        """The same arguments with absolute paths."""
        url = self.url if self._file is None else str(self._file.absolute())
        return options | {"url": url, "root": str(self.root.absolute())}

    def __reduce__(self) -> tuple[Any, ...]:
        return SQLDatabase, (self.url, str(self.root))

    def _table(self, name: str) -> sql.Table:
        """A table or view as it is; PostgreSQL's may be called `schema.table`."""
        schema, _, bare = name.rpartition(".")
        with self._asking() as connection:
            there, place = sql.inspect(connection), schema or None
            known = [*there.get_table_names(place), *there.get_view_names(place)]
            wrong = unknown([bare], known, "table")
            if wrong:
                raise DatabaseError(self.name, wrong)
            return sql.Table(bare, sql.MetaData(), schema=place, autoload_with=connection)

    def _plain(self, column: str, value: Any, is_time: bool) -> Any:
        """A value that Parquet keeps; SQLite's times are text, which we read ourselves."""
        if is_time and value is not None:
            try:
                value = datetime.fromisoformat(value)
            except (ValueError, TypeError):
                wrong = f"{column} holds {value!r}, which is no time such as 2024-05-31 12:00"
                raise DatabaseError(self.name, [wrong]) from None
        return plain(value)

    def _sum(self, table: sql.Table) -> str:
        rows = table.alias()
        each = sql.func.hashtextextended(
            sql.cast(sql.func.row_to_json(rows.table_valued()), sql.Text), 0
        )
        with self._asking() as connection:
            count, total = connection.execute(
                sql.select(sql.func.count(), sql.func.sum(each))
            ).one()
        return f"{table.fullname}:{count}:{total}"

    @contextmanager
    def _asking(self) -> Iterator[sql.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except sql.exc.SQLAlchemyError as error:
            raise DatabaseError(self.name, [f"cannot be asked ({_reason(error)})"]) from None


def _reason(error: sql.exc.SQLAlchemyError) -> str:
    """The first line of what a driver says; pg8000 says a dictionary."""
    said = getattr(error, "orig", None) or error
    first = said.args[0] if said.args else said
    return str(first.get("M", first) if isinstance(first, dict) else first).partition("\n")[0]


def plain(value: Any) -> Any:
    """Times in UTC, decimals as floats, JSON as text."""
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, list | dict):
        return json.dumps(value)
    return value
