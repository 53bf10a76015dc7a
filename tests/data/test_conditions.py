"""Conditions as they stand in YAML, without a database."""

from __future__ import annotations

import pytest

from microtome.data.databases.clauses import glob_of
from microtome.data.databases.conditions import condition


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("early", r"write \['early', EQUAL\]"),
        ([1, 2, 3], "expected .value, COMPARATOR., got"),
        ([None, "EQUAL"], "IS_NULL"),
        ([[1, None], "NOT_IN"], "IS_NULL"),
        ([1, "IN"], "IN takes a list"),
        ([[], "IN"], "empty list"),
        ([[1, 2, 3], "BETWEEN"], "lowest, highest"),
        ([[1], "EQUAL"], "EQUAL takes one value"),
        ([1, "IS_NULL"], "takes no value"),
    ],
)
def test_conditions_that_say_nothing(given, reason):
    with pytest.raises(ValueError, match=reason):
        condition(given)


@pytest.mark.parametrize(
    ("like", "glob"),
    [("Emb%_1", "Emb*?1"), (r"a\%b\_c", "a%b_c"), ("a*b?[c]", "a[*]b[?][[]c]"), (r"\\", "\\")],
)
def test_patterns_in_the_letters_of_glob(like, glob):
    assert glob_of(like) == glob
