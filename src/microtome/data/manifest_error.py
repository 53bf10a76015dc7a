"""What is wrong with the description of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike


class ManifestError(ValueError):
    """What describes a data set is wrong; all problems are listed at once."""

    def __init__(self, source: str | PathLike[str], problems: Sequence[str] = ()) -> None:
        super().__init__(str(source), tuple(problems))
        self.source, self.problems = str(source), tuple(problems)

    def __str__(self) -> str:
        if len(self.problems) < 2:
            return ": ".join((self.source, *self.problems))
        return "\n  - ".join((f"{self.source}: {len(self.problems)} problems", *self.problems))
