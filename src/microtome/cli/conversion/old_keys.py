"""The keys of a config in another form; whatever is wrong with them is told at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ...data.spelling import unknown

Check = Callable[[Any], Any]


class OldKeys:
    """Reads a config of sections and keys.

    Args:
        given: as YAML has it.
        known: every key there is, with dots.

    Attributes:
        problems: what is wrong.
    """

    def __init__(self, given: Mapping[str, Any], known: Collection[str]) -> None:
        sections = {key[:at] for key in known for at, c in enumerate(key) if c == "."}
        leaves = dict(_leaves(given, sections))
        self.values = {k: v for k, v in leaves.items() if k in known}
        strange = [key for key in leaves if key not in known]
        empty = {key for key in strange if key in sections and leaves[key] is None}
        self.problems = [
            f"{key}: expected keys below it, got {leaves[key]!r}"
            for key in strange
            if key in sections and key not in empty
        ]
        self.problems += unknown([key for key in strange if key not in sections], known, "key")

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def read(self, key: str, check: Check, default: Any = None) -> Any:
        """The checked value; `default` where there is none, or a wrong one, which is noted."""
        if key not in self.values:
            return default
        try:
            return check(self.values[key])
        except ValueError as error:
            self.problems.append(f"{key}: expected {error}, got {self.values[key]!r}")
            return default

    def need(self, key: str, check: Check) -> Any:
        """The same for a key that must be there."""
        if self.values.get(key) is None:
            self.problems.append(f"{key}: it is missing")
            return None
        return self.read(key, check)


def whole(least: int) -> Check:
    """A whole number from `least` on."""

    def check(value: Any) -> int:
        if type(value) is not int or value < least:
            raise ValueError(f"a whole number from {least} on")
        return value

    return check


def number(value: Any) -> float:
    """A number from 0 on; YAML takes 1e-3, without a point, for a word."""
    try:
        found = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = float("nan")
    if not 0 <= found < float("inf"):
        raise ValueError("a number from 0 on")
    return found


def text(value: Any) -> str:
    """A word or a path."""
    if not isinstance(value, str) or not value:
        raise ValueError("a word or a path")
    return value


def switch(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def optional(check: Check) -> Check:
    """The same, or null."""
    return lambda value: None if value is None else check(value)


def one_of(choices: Collection[str]) -> Check:
    """One of some words, in upper or lower case."""

    def check(value: Any) -> str:
        found = str(value).lower()
        if found not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return found

    return check


def _leaves(given: Mapping[str, Any], sections: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Every value below the known sections by its whole key."""
    for name, value in given.items():
        if name in sections and isinstance(value, Mapping):
            below = {f"{name}.{key}": one for key, one in value.items()}
            yield from _leaves(below, sections)
        else:
            yield str(name), value
