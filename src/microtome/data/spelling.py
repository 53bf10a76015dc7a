"""Names that are not known, with the nearest one that is."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches


def unknown(given: Iterable[str], known: Collection[str], kind: str) -> list[str]:
    """One sentence for each name in `given` that is not among the known ones."""
    return [
        f"{kind} {name!r} is not known; {_nearest(name, known)}"
        for name in map(str, given)
        if name not in known
    ]


def _nearest(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
