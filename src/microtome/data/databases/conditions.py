"""Conditions on columns: a value and a comparator, in Python and in YAML alike.

In Python a pair, `(0.5, Comparator.GREATER_THAN)`; in YAML a list of two, `[0.5, GREATER_THAN]`:

    snr:        [0.5, GREATER_THAN]
    stage:      [[early, late], IN]
    exposure:   [[10, 20], BETWEEN]        both ends belong to it
    file:       [Emb%, LIKE]               % any text, _ any one character, \\% the character %
    comment:    IS_NULL                    or [null, IS_NULL]
    specimen:                              selected, not filtered

A list never means equality, so nothing that was meant as a comparison can turn into one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple


class Comparator(StrEnum):
    """How a column is compared with a value. As in SQL, a missing value satisfies only IS_NULL."""

    EQUAL = "EQUAL"
    NOT_EQUAL = "NOT_EQUAL"
    GREATER_THAN = "GREATER_THAN"
    GREATER_THAN_OR_EQUAL = "GREATER_THAN_OR_EQUAL"
    LESS_THAN = "LESS_THAN"
    LESS_THAN_OR_EQUAL = "LESS_THAN_OR_EQUAL"
    IN = "IN"
    NOT_IN = "NOT_IN"
    LIKE = "LIKE"
    BETWEEN = "BETWEEN"
    IS_NULL = "IS_NULL"
    IS_NOT_NULL = "IS_NOT_NULL"


ALONE = (Comparator.IS_NULL, Comparator.IS_NOT_NULL)
LISTS = (Comparator.IN, Comparator.NOT_IN, Comparator.BETWEEN)


class Condition(NamedTuple):
    """A comparison with a value: a list for IN, NOT_IN and BETWEEN, None for IS_(NOT_)NULL."""

    value: Any
    comparator: Comparator

    @property
    def values(self) -> list[Any]:
        """The values it compares with, as many as there are."""
        if self.comparator in ALONE:
            return []
        return list(self.value) if self.comparator in LISTS else [self.value]


def condition(given: Any) -> Condition | None:
    """Read what stands at a column; None selects it without a filter.

    Raises ValueError saying what was expected and how it is written.
    """
    if given is None:
        return None
    if isinstance(given, str) and given.upper() in ALONE:
        given = (None, given)
    if isinstance(given, str | bool | int | float) or not isinstance(given, Sequence):
        raise ValueError(f"expected [value, COMPARATOR], got {given!r}; {_instead(given)}")
    named = given[1] if len(given) == 2 else None
    if not isinstance(named, str) or named.upper() not in Comparator.__members__:
        raise ValueError(
            f"expected [value, COMPARATOR], got {list(given)!r}; the comparators are "
            + ", ".join(Comparator)
        )
    return _checked(Condition(given[0], Comparator[named.upper()]))


def conditions(columns: Mapping[str, Any], problems: list[str]) -> dict[str, Condition | None]:
    """Read every column; what is wrong goes on the list, each with its column."""
    read: dict[str, Condition | None] = {}
    for name, given in columns.items():
        try:
            read[name] = condition(given)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    return read


def _instead(given: Any) -> str:
    return f"for equality write [{given!r}, EQUAL]" if not isinstance(given, Mapping) else "a list"


def _checked(asked: Condition) -> Condition:
    value, comparator = asked
    if comparator in ALONE:
        if value is not None:
            raise ValueError(f"{comparator} takes no value, got {value!r}")
        return asked
    listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    if listed != (comparator in LISTS):
        expected = "a list" if comparator in LISTS else "one value"
        raise ValueError(f"{comparator} takes {expected}, got {value!r}")
    if None in asked.values:
        raise ValueError(f"{comparator} with null is true of nothing: use IS_NULL or IS_NOT_NULL")
    if comparator is Comparator.BETWEEN and len(value) != 2:
        raise ValueError(f"BETWEEN takes [lowest, highest], got {value!r}")
    if comparator is Comparator.IN and not asked.values:
        raise ValueError("IN with an empty list is true of nothing")
    if comparator is Comparator.LIKE and not isinstance(value, str):
        raise ValueError(f"LIKE takes text, got {value!r}")
    return asked
