"""What every data set shares: it reads samples, and chance and transforms are added here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from torch.utils.data import Dataset

from ..geometry import Region, window
from ..structures import Classes, DataSample
from .crops import RandomCrop
from .opened import Readable
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
    """A data set that reads parts of its samples; subclasses say `open`.

    Where a random crop comes first, only its window of the image is read: the same crop as of the
    whole sample. For a crop that is aimed, the truth of the whole is read, and the image's window.
    """

    @abstractmethod
    def open(self, item: int) -> Readable:
        """Open the files of a sample."""

    def load(self, item: int) -> DataSample:
        """Read one whole sample."""
        return read(self.open(item))

    def _first(self, item: int, steps: list[Step]) -> tuple[DataSample, list[Step]]:
        crop = steps[0][0] if steps else None
        if not isinstance(crop, RandomCrop):
            return super()._first(item, steps)
        opened, asks = self.open(item), crop.aim.asks
        everything = opened.truth(window(opened.shape)) if asks else None
        cut = crop.place(opened.shape, everything, steps[0][1], self.classes)
        truth = crop.truth(everything, cut, self.classes) if asks else opened.truth(cut.region)
        sample = crop.finish(opened.sample(cut.region, truth), cut, self.classes)
        return sample, steps[1:]


def read(opened: Readable, region: Region | None = None) -> DataSample:
    """Read a region of a sample, or all of it."""
    region = window(opened.shape) if region is None else region
    return opened.sample(region, opened.truth(region))
