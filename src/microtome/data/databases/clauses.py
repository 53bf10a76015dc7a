"""Conditions as SQL with bound values, with one meaning on SQLite and PostgreSQL.

- LIKE tells upper from lower case: SQLite's own LIKE does not, so its GLOB is asked instead.
- Text is ordered by code points, not by the server's language.
- A time without a zone is in UTC, in the config and in the table. SQLite keeps times as text: they
  are compared after being read, to the millisecond.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sql

from .conditions import ALONE, Comparator, Condition

Clause = sql.ColumnElement[bool]
_ORDERED: dict[Comparator, Callable[[Any, Any], Any]] = {
    Comparator.GREATER_THAN: lambda column, value: column > value,
    Comparator.GREATER_THAN_OR_EQUAL: lambda column, value: column >= value,
    Comparator.LESS_THAN: lambda column, value: column < value,
    Comparator.LESS_THAN_OR_EQUAL: lambda column, value: column <= value,
}
_MILLISECONDS = "%Y-%m-%d %H:%M:%f"


def clause(column: sql.Column[Any], asked: Condition, dialect: str) -> Clause:
    """What a column must satisfy.

    Raises ValueError for values that are not of the column's type.
    """
    comparator = asked.comparator
    found: Clause = column.is_(None)
    if comparator in ALONE:
        return found if comparator is Comparator.IS_NULL else ~found
    kind = kind_of(column)
    values = [_value(v, kind, dialect) for v in asked.values]
    if comparator is not Comparator.LIKE:
        found = _compared(_comparable(column, kind, comparator, dialect), comparator, values)
    elif kind is str:
        found = _like(column, values[0], dialect)
    else:
        raise ValueError(f"LIKE needs a column of text, this one holds {column.type}")
    return found


def _compared(left: Any, comparator: Comparator, values: list[Any]) -> Any:
    if comparator is Comparator.EQUAL:
        return left == values[0]
    if comparator is Comparator.NOT_EQUAL:
        return left != values[0]
    if comparator is Comparator.IN:
        return left.in_(values)
    if comparator is Comparator.NOT_IN:  # SQL holds "not in nothing" true of null too
        return left.not_in(values) & left.is_not(None)
    if comparator is Comparator.BETWEEN:  # SQLAlchemy's own goes wrong after COLLATE
        return (left >= values[0]) & (left <= values[1])
    return _ORDERED[comparator](left, values[0])


def kind_of(column: sql.Column[Any]) -> type | None:
    """The Python type of a column's values; None where SQL has none of its own."""
    try:
        kind = column.type.python_type
    except NotImplementedError:
        return None
    return float if kind.__name__ == "Decimal" else kind


def _comparable(column: Any, kind: type | None, comparator: Comparator, dialect: str) -> Any:
    """The column in the form in which both servers compare it alike."""
    if kind is datetime and dialect == "sqlite":
        return sql.func.strftime(_MILLISECONDS, column, type_=sql.Text)
    if kind is str and dialect == "postgresql" and comparator not in (
        Comparator.EQUAL, Comparator.NOT_EQUAL, Comparator.IN, Comparator.NOT_IN
    ):  # fmt: skip
        return column.collate("C")
    return column


def _like(column: Any, pattern: str, dialect: str) -> Any:
    if dialect != "sqlite":
        return column.like(pattern, escape="\\")
    return column.op("GLOB", is_comparison=True)(glob_of(pattern))


def glob_of(pattern: str) -> str:
    """The same pattern in GLOB's letters: `Emb%_1` becomes `Emb*?1`."""

    def letter(found: re.Match[str]) -> str:
        text = found[0]
        if text in ("%", "_"):
            return "*" if text == "%" else "?"
        plain = text[-1]
        return f"[{plain}]" if plain in "*?[" else plain

    return re.sub(r"\\.|[%_*?[]", letter, pattern)


def _value(given: Any, kind: type | None, dialect: str) -> Any:
    """A value as the column holds it."""
    if kind is datetime:
        moment = _in_utc(given)
        if dialect == "sqlite":
            return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03}"
        return moment
    if kind is date:
        return given if type(given) is date else date.fromisoformat(_text(given))
    if kind is float and type(given) in (int, float):
        return float(given)
    if kind in (bool, int, str) and type(given) is not kind:
        raise ValueError(f"the column holds {kind.__name__}, got {given!r}")
    if kind is float:
        raise ValueError(f"the column holds numbers, got {given!r}")
    return given


def _in_utc(given: Any) -> datetime:
    if isinstance(given, datetime):
        moment = given
    elif isinstance(given, date):
        moment = datetime(given.year, given.month, given.day)
    else:
        moment = datetime.fromisoformat(_text(given))
    return utc(moment)


def utc(moment: datetime) -> datetime:
    """A time in UTC; one without a zone is in UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise ValueError(f'the column holds times, such as "2024-05-31 12:00", got {given!r}')
    return given
