"""What a run asks of its data before it trains: what is in it, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..structures import Classes
from .crowding import Window
from .datasets import SampleDataset
from .inspection import Report, inspect


class KnownSplits:
    """Answers of the data sets of a run, their files opened once.

    Attributes:
        splits: data sets by name; `train` is among them.
    """

    splits: Mapping[str, SampleDataset]
    _seen: Window | None = None  # pixels of the files that a crop shows
    _report: Report | None = None

    @property
    def classes(self) -> Classes:
        """The class table of the training data."""
        return self.splits["train"].classes

    def inspect(self, progress: Callable[[int, int], None] | None = None) -> Report:
        """Open every file once; the report is kept."""
        if self._report is None:
            self._report = inspect(self.splits, self.classes, progress=progress, crop=self._seen)
        return self._report

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the training images, per channel, in unit range."""
        report = self.inspect()
        return report.mean, report.std

    def frequencies(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Pixels of each class in the training images; judged pixels of the images that show it."""
        train = self.inspect().splits["train"]
        return train.pixels[:-1], train.among[:-1]

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps of the data it saw, as plain values."""
        return self.inspect().facts()

    def in_words(self) -> str:
        """How many images there are, and of which classes."""
        counts = ", ".join(f"{len(data)} {name}" for name, data in self.splits.items())
        return f"{counts} images; classes: {', '.join(self.classes.names)}"

    def usage(self) -> dict[str, Any]:
        """How images are read, which a model must know to read others alike."""
        spacings = {spacing for s in self.inspect().splits.values() for spacing in s.spacings}
        return {"spacing": spacings.pop()} if len(spacings) == 1 else {}

    def changing(self) -> list[str]:
        """What makes training samples differ from epoch to epoch, by name."""
        steps = self.splits["train"].transforms
        return [type(step).__name__ for step in steps if not getattr(step, "steady", False)]
