"""Results against truths, image by image: what all evaluators do alike."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..geometry import Spacing
from ..structures import Classes, Segmentation

Score = TypeVar("Score", bound="tuple[Tensor | tuple[Tensor, ...], ...]")


class DatasetEvaluator(ABC, Generic[Score]):
    """Scores images one by one; all numbers follow from what it keeps of each.

    A score is a NamedTuple of small tensors on the CPU: sums of one image, which add up, so that
    the numbers are pooled over images, and over processes.

    Attributes:
        main: the number that says most.
        classes: the class table.
        rows: for each image its name and its own numbers; the images of this process only.
        scores: what the numbers follow from, of the same images.
    """

    main: str

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.rows: list[tuple[str, dict[str, float]]] = []
        self.scores: list[Score] = []
        self._named: list[str | None] = []

    def reset(self) -> None:
        """Forget all images."""
        for kept in (self.rows, self.scores, self._named):
            kept.clear()

    def process(
        self,
        results: Iterable[Segmentation],
        truths: Iterable[Segmentation],
        names: Iterable[str] | None = None,
        spacings: Iterable[Spacing | None] | None = None,
    ) -> None:
        """Score images.

        Args:
            results: of a model, any number.
            truths: as many.
            names: what the images are called, no two alike; their numbers when not given.
            spacings: µm per pixel and axis, of images where it is known.

        Raises ValueError where a result and its truth differ in shape, and where either lacks what
        is scored.
        """
        given = None if names is None else iter(names)
        spaced: Iterator[Spacing | None] = repeat(None) if spacings is None else iter(spacings)
        for result, truth in zip(results, truths, strict=True):
            score = self._score(result, truth, next(spaced))
            name = None if given is None else next(given)
            self._named.append(name)
            self.rows.append((str(len(self.rows)) if name is None else name, self._row(score)))
            self.scores.append(score)

    def evaluate(self) -> dict[str, float]:
        """The numbers of all images of all processes together: to be called by each of them.

        An image that was dealt to two processes, so that both have equally many, counts once, if
        it has a name.
        """
        return {key: float(value) for key, value in self._pooled(self._everywhere()).items()}

    def intervals(
        self, draws: int = 1000, level: float = 0.95, seed: int = 0
    ) -> dict[str, tuple[float, float]]:
        """How far the numbers would move with other images: bootstrap intervals (Efron, 1979).

        As many images are drawn with replacement as there are, `draws` times, and all numbers
        pooled anew each time; the interval holds the middle `level` of them (the percentile
        method), as far as they exist. It knows nothing of chance in training, and images of one
        patient are not independent. Like `evaluate` to be called by every process.

        Returns (low, high) by name; nan with fewer than two images.
        """
        scores = self._everywhere()
        if len(scores) < 2:
            return dict.fromkeys(self.numbers, (math.nan, math.nan))
        chance = np.random.default_rng(seed)
        drawn = chance.multinomial(len(scores), [1 / len(scores)] * len(scores), draws)
        numbers = self._weighed(scores, torch.from_numpy(drawn))
        ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
        found = {key: value.double().nanquantile(ends) for key, value in numbers.items()}
        return {key: (float(low), float(high)) for key, (low, high) in found.items()}

    @property
    def numbers(self) -> list[str]:
        """What `evaluate` will give."""
        return list(self._pooled([]))

    def _everywhere(self) -> list[Score]:
        """The scores of all processes, of an image that has a name once."""
        return _of_all_processes(self._named, self.scores)

    def _pooled(self, scores: Sequence[Score]) -> dict[str, Tensor]:
        scores = scores or [self._nothing()]
        return self._weighed(scores, torch.ones(1, len(scores)))

    @abstractmethod
    def _score(self, result: Segmentation, truth: Segmentation, spacing: Spacing | None) -> Score:
        """What is kept of one image."""

    @abstractmethod
    def _nothing(self) -> Score:
        """Of an image that there is not."""

    @abstractmethod
    def _weighed(self, scores: Sequence[Score], weights: Tensor) -> dict[str, Tensor]:
        """Numbers [W] of images, at least one, that count as often as weights [W, images] say."""

    @abstractmethod
    def _row(self, score: Score) -> dict[str, float]:
        """Those of one image that stand in `rows`."""


def _of_all_processes(names: Sequence[str | None], scores: Sequence[Score]) -> list[Score]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return list(scores)
    parts: list[list[tuple[str | None, Score]]] = [[]] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, list(zip(names, scores, strict=True)))
    known: set[str] = set()
    kept = []
    for part in parts:
        kept += [score for name, score in part if name not in known]
        known |= {name for name, _ in part if name is not None}
    return kept
