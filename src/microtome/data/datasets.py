"""What every data set shares: it reads samples, and chance and transforms are added here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from torch.utils.data import Dataset

from ..structures import Classes, DataSample
from .sampling import Draw, dice

# A transform knows the class table, because what it uncovers is filled with `ignore_index`.
Transform = Callable[[DataSample, np.random.SeedSequence, Classes], DataSample]


class SampleDataset(Dataset[DataSample]):
    """A data set of DataSamples; subclasses say `classes`, `__len__` and `load`.

    Attributes:
        classes: the class table.
        transforms: applied in order, each with its own chance.
        seed: with the epoch and the item it determines every random choice.
    """

    classes: Classes

    def __init__(self, transforms: Sequence[Transform] = (), seed: int = 0) -> None:
        self.transforms, self.seed = tuple(transforms), seed

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def load(self, item: int) -> DataSample:
        """Read one whole sample, with its truth and the intensity statistics of its source."""

    def __getitem__(self, key: Draw | int) -> DataSample:
        """Read and transform; an item beyond the length is another crop of `item % length`."""
        draw = key if isinstance(key, Draw) else Draw(0, key)
        sample = self.load(draw.item % len(self))
        chances = dice(self.seed, *draw).spawn(len(self.transforms))
        for transform, chance in zip(self.transforms, chances, strict=True):
            sample = transform(sample, chance, self.classes)
        return sample
