"""The one exception of databases."""

from __future__ import annotations

from ..records import ManifestError


class DatabaseError(ManifestError):
    """A database that cannot be used as asked; all problems are listed at once."""
