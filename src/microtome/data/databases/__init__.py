"""Metadata databases: which volumes there are, chosen by conditions, cut into tiles."""

from .conditions import Comparator, Condition
from .database import Database
from .errors import DatabaseError
from .schemas import DataSchema, LabelSchema
from .sql import SQLDatabase
from .tiles import tile_table

__all__ = [
    "Comparator",
    "Condition",
    "DataSchema",
    "Database",
    "DatabaseError",
    "LabelSchema",
    "SQLDatabase",
    "tile_table",
]
