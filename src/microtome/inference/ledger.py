"""What is done of a long prediction, so that a killed one goes on: a line per event.

{"settings": {...}}         the first line: another run is refused
{"kind": "objects"}         what the tiles hold, known after the first
{"failed": 7, "why": "…"}   a tile that could not be read
{"block": 12}               a block of the output that is written
{"finished": true}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Ledger:
    """The ledger of one folder.

    Args:
        path: the file; made when it is not there.
        settings: what the result depends on; plain data.

    Attributes:
        kind: what tiles hold; empty before the first one.
        failed: for each tile that could not be read, why.
        blocks: numbers of the blocks that are written.
        finished: whether everything is done.

    Raises FileExistsError, naming what differs, when the file is another run's.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.kind, self.finished = "", False
        self.failed: dict[int, str] = {}
        self.blocks: set[int] = set()
        settings = json.loads(json.dumps(settings))
        lines = _whole_lines(path)
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append({"settings": settings})
            return
        _check_same(path, lines[0]["settings"], settings)
        for line in lines[1:]:
            self._learn(line)

    def note(self, **event: Any) -> None:
        """Append an event."""
        self._append(event)
        self._learn(event)

    def _learn(self, event: Mapping[str, Any]) -> None:
        self.kind = event.get("kind", self.kind)
        self.finished = event.get("finished", self.finished)
        if "failed" in event:
            self.failed[event["failed"]] = event["why"]
        if "block" in event:
            self.blocks.add(event["block"])

    def _append(self, event: Mapping[str, Any]) -> None:
        with self.path.open("a") as f:
            f.write(json.dumps(event) + "\n")


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """Read the events; a line that a kill cut short is removed from the file."""
    if not path.is_file():
        return []
    text = path.read_text()
    kept = text[: text.rfind("\n") + 1]
    if kept != text:
        with path.open("r+") as f:
            f.truncate(len(kept.encode()))
    return [json.loads(line) for line in kept.splitlines()]


def _check_same(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    wrong = [
        f"{key} was {old.get(key)!r} and is now {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if wrong:
        raise FileExistsError(
            f"{path.parent} holds another prediction ({'; '.join(wrong)}): choose another folder, "
            "or remove it"
        )
