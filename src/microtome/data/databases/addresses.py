"""Where a database is, and how it is opened: to be read, in UTC, its password from elsewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from .errors import DatabaseError

SQLITE, POSTGRESQL, DRIVER = "sqlite", "postgresql", "postgresql+pg8000"
_FORMS = "expected a SQLite file or postgresql://USER:$PGPASSWORD@HOST/DATABASE"


def named(url: str) -> str:
    """A file or URL without its password, for messages."""
    return re.sub(r"(//[^:@/]*):[^/]*@", r"\1@", url)


def engine_of(url: str) -> sql.Engine:
    """What connects to a file or URL; every connection is closed after use.

    Raises DatabaseError for what cannot be one, before anything is connected.
    """
    if "://" in url:
        try:
            engine = sql.create_engine(_address(url), poolclass=sql.pool.NullPool)
        except ImportError as error:
            way = "pip install 'microtome[postgresql]'"
            raise DatabaseError(named(url), [f"{error.name} is not installed: {way}"]) from None
        sql.event.listen(engine, "connect", _settle)
        return engine
    file = Path(url)
    if not file.is_file():
        raise DatabaseError(url, [f"no such file; {_FORMS}"])
    # for reading only: otherwise a wrong name would make a new, empty file
    address = f"sqlite:///{file.absolute().as_uri()}?mode=ro&uri=true"
    return sql.create_engine(address, poolclass=sql.pool.NullPool)


def _address(url: str) -> sql.URL:
    """A server's address, its password taken from the environment.

    Raises DatabaseError for other servers, for passwords in the open and unset variables.
    """
    name = named(url)
    try:
        address = sql.make_url(url)
    except sql.exc.ArgumentError:
        raise DatabaseError(name, [_FORMS]) from None
    if address.drivername.partition("+")[0] != POSTGRESQL:
        raise DatabaseError(name, [f"{address.drivername} is not supported; {_FORMS}"])
    if address.drivername == POSTGRESQL:
        address = address.set(drivername=DRIVER)
    word = address.password
    if word is None:
        return address
    if not word.startswith("$"):
        hint = "write $PGPASSWORD in its place, and set that in the environment"
        raise DatabaseError(name, [f"the password would be kept in every checkpoint: {hint}"])
    if word[1:] not in os.environ:
        raise DatabaseError(name, [f"{word} is not set in the environment"])
    return address.set(password=os.environ[word[1:]])


def _settle(connection: Any, record: Any) -> None:
    """Times in UTC, and nothing is written."""
    cursor = connection.cursor()
    cursor.execute("SET TIME ZONE 'UTC'")
    cursor.execute("SET default_transaction_read_only = on")
    cursor.close()
    connection.commit()
