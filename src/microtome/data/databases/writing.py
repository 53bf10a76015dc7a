"""A new SQLite file from rows; types follow the values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from ...files import whole
from .joining import Row

_TYPES: dict[type, type[sql.types.TypeEngine[Any]]] = {
    bool: sql.Boolean, int: sql.BigInteger, float: sql.Float, str: sql.Text, datetime: sql.DateTime
}  # fmt: skip


def write_database(file: Path, tables: Mapping[str, Sequence[Row]]) -> None:
    """Write a SQLite file, whole or not at all; empty tables are left out.

    Args:
        file: it is replaced.
        tables: rows by table, all of a table with the same columns; the first is the key.
    """
    described = sql.MetaData()
    made = {name: _table(name, rows, described) for name, rows in tables.items() if rows}
    with whole(file) as part:
        engine = sql.create_engine(f"sqlite:///{part}", poolclass=sql.pool.NullPool)
        described.create_all(engine)
        with engine.begin() as connection:
            for name, table in made.items():
                connection.execute(table.insert(), list(tables[name]))


def _table(name: str, rows: Sequence[Row], described: sql.MetaData) -> sql.Table:
    key, *_ = rows[0]
    columns = (
        sql.Column(column, _type(rows, column), primary_key=column == key) for column in rows[0]
    )
    return sql.Table(name, described, *columns)


def _type(rows: Sequence[Row], column: str) -> type[sql.types.TypeEngine[Any]]:
    known = {type(row[column]) for row in rows if row[column] is not None} or {str}
    return _TYPES[float if known == {int, float} else known.pop()]
