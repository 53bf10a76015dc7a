"""What is asked of a database: a table, and its columns with conditions, in groups."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .conditions import Condition, conditions

Columns = dict[str, Any] | None


@dataclass(frozen=True)
class DataSchema:
    """The images that are wanted. The groups differ in name only: their columns are merged.

    Attributes:
        table: the table or view with a row per image.
        data_attributes: columns of the image data; each is null (selected, not filtered) or
            `[value, COMPARATOR]`, see `microtome.data.databases.conditions`.
        quality_metrics: as above, of how good the images are.
        sample_metadata: as above, of the specimens.
        reagents_metadata: as above, of stains and labels.
        acquisition_metadata: as above, of the microscope.
        accquisition_metadata: the same; configs of the cell observatory spell it so.
    """

    table: str
    data_attributes: Columns = None
    quality_metrics: Columns = None
    sample_metadata: Columns = None
    reagents_metadata: Columns = None
    acquisition_metadata: Columns = None
    accquisition_metadata: Columns = None


@dataclass(frozen=True)
class LabelSchema:
    """The label volumes that are wanted.

    Attributes:
        table: the table or view with a row per label volume.
        label_metadata: columns, each null or `[value, COMPARATOR]`.
    """

    table: str
    label_metadata: Columns = None


def columns_of(
    schema: DataSchema | LabelSchema, problems: list[str]
) -> dict[str, Condition | None]:
    """The columns of all groups with their conditions; what is wrong goes on the list."""
    merged: dict[str, Condition | None] = {}
    seen: set[str] = set()
    for group in (f.name for f in fields(schema) if f.name != "table"):
        given = getattr(schema, group) or {}
        twice = sorted(seen & given.keys())
        problems += [f"{schema.table}.{name} stands in two groups" for name in twice]
        seen |= given.keys()
        found: list[str] = []
        merged |= conditions(given, found)
        problems += [f"{schema.table}.{problem}" for problem in found]
    return merged
