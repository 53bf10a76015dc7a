"""What every data set shares: it reads samples, and chance and transforms are added here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from torch.utils.data import Dataset

from ..geometry import Region, Shape, window
from ..structures import Classes, DataSample
from .crops import RandomCrop
from .sampling import Draw, dice

# A transform knows the class table, because what it uncovers is filled with `ignore_index`.
Transform = Callable[[DataSample, np.random.SeedSequence, Classes], DataSample]
Step = tuple[Transform, np.random.SeedSequence]


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
        chances = dice(self.seed, *draw).spawn(len(self.transforms))
        steps = list(zip(self.transforms, chances, strict=True))
        sample, rest = self._first(draw.item % len(self), steps)
        for transform, chance in rest:
            sample = transform(sample, chance, self.classes)
        return sample

    def _first(self, item: int, steps: list[Step]) -> tuple[DataSample, list[Step]]:
        """The sample, and the transforms that are still to be applied."""
        return self.load(item), steps


class RegionDataset(SampleDataset):
    """A data set that reads parts of its samples; subclasses say `shape` and `read`.

    Where a random crop comes first, only its window is read: the same crop as of the whole sample.
    A crop that is aimed at what is in the sample needs all of it.
    """

    @abstractmethod
    def shape(self, item: int) -> Shape:
        """*S of a sample, known without reading its pixels."""

    @abstractmethod
    def read(self, item: int, region: Region) -> DataSample:
        """Read a region of a sample; its placement says where it lies in its source."""

    def load(self, item: int) -> DataSample:
        """Read one whole sample."""
        return self.read(item, window(self.shape(item)))

    def _first(self, item: int, steps: list[Step]) -> tuple[DataSample, list[Step]]:
        crop = steps[0][0] if steps else None
        if not isinstance(crop, RandomCrop) or crop.aim.asks:
            return super()._first(item, steps)
        cut = crop.place(self.shape(item), steps[0][1])
        return crop.finish(self.read(item, cut.region), cut, self.classes), steps[1:]
