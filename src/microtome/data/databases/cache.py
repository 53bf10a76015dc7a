"""A table of tiles kept as Parquet, with the fingerprint of what it is the answer to."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from ...files import whole
from .joining import Row

log = logging.getLogger("microtome")
_KEY = b"microtome"


def fingerprint(question: Sequence[Any], state: str) -> str:
    """The sha256 of a question to a database and of the database's state."""
    asked = [asdict(part) if is_dataclass(part) else part for part in question]  # type: ignore[arg-type]
    words = json.dumps([asked, state], sort_keys=True, default=str)
    return sha256(words.encode()).hexdigest()


def remembered(file: Path, mark: str, ask: Callable[[], list[Row]]) -> list[Row]:
    """The table in `file` when its fingerprint is `mark`; else ask, and write it there.

    Raises OSError for a file that is there and no such table: it is not overwritten.
    """
    if file.exists():
        table = _read(file)
        if (table.schema.metadata or {}).get(_KEY) == mark.encode():
            rows: list[Row] = table.to_pylist()
            return rows
        log.info(f"data       {file} is of another question or an older database: made anew")
    rows = ask()
    table = pa.Table.from_pylist(rows).replace_schema_metadata({_KEY: mark.encode()})
    with whole(file) as part:
        parquet.write_table(table, part, compression="zstd")
    return rows


def _read(file: Path) -> Any:
    try:
        table = parquet.read_table(file)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise OSError(f"{file}: no Parquet file ({error}); the cache needs another name") from None
    if _KEY not in (table.schema.metadata or {}):
        raise OSError(f"{file}: no table of ours; the cache needs another name")
    return table
