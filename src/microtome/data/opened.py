"""The files of one image, open: image and truth are read apart, each by region."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from ..geometry import Placement, Region, Shape, extent, window
from ..structures import Classes, DataSample, Segmentation
from .records import Reading, Record
from .stores import Source, open_source
from .stores.volumes import Volume
from .truth import Truth

FILES, BYTES = 16, 1 << 28  # what a process keeps open, and decoded


class Readable(Protocol):
    """What a sample is read from."""

    @property
    def shape(self) -> Shape:
        """*S, known without reading pixels where the file says it."""
        ...

    def truth(self, region: Region) -> Segmentation | None:
        """What is in a region."""
        ...

    def sample(self, region: Region, truth: Segmentation | None) -> DataSample:
        """The image of a region, with a truth that is known already."""
        ...


def source_of(record: Record, reading: Reading) -> Source:
    """The image [C, *S] of a record; its own spacing, in µm, wins over that of `reading`.

    Raises ImageReadError naming the file and what is wrong with it.
    """
    return open_source(
        record.image,
        spacing=reading.spacing if record.spacing is None else record.spacing,
        levels=reading.levels,
        channels=reading.channels,
        time=record.time,
    )


class Opened:
    """The files of one record; it pickles, and may be read from any thread of any process.

    Args:
        record: the files.
        classes: the class table.
        reading: how files are read.
        name: what outputs made from it are called.

    Raises ImageReadError naming the file and what is wrong with it, as do all its methods.
    """

    def __init__(self, record: Record, classes: Classes, reading: Reading, name: str) -> None:
        self.record, self.classes, self.reading, self.name = record, classes, reading, name
        self.source = source_of(record, reading)

    @property
    def shape(self) -> Shape:
        """*S of the image."""
        return self.source.info.shape

    @property
    def held(self) -> int:
        """Bytes in memory: those of an image that was decoded whole."""
        info = self.source.info
        pixels = prod(info.shape) * len(info.channels)
        return 0 if isinstance(self.source, Volume) else pixels * np.dtype(info.dtype).itemsize

    @cached_property
    def truths(self) -> Truth:
        """What is in the image."""
        return Truth(self.record, self.shape, self.classes, self.reading)

    def truth(self, region: Region) -> Segmentation | None:
        """What is in a region; None where the record names no file for it."""
        return self.truths.read(region)

    def sample(self, region: Region, truth: Segmentation | None) -> DataSample:
        """The image of a region, with spacing, statistics of the whole source, and placement."""
        info = self.source.info
        offset = tuple(float(side.start) for side in region)
        placement = Placement(offset, (1.0,) * len(region), info.shape)
        return DataSample(
            torch.from_numpy(self.source.read(region)),
            truth,
            info.spacing,
            info.channels,
            None if region == window(info.shape) else placement,
            self.source.intensity,
            {"name": self.name, "path": str(self.record.image)},
        )


class KeptOpen:
    """Opens the files of records by number, and keeps the last ones open.

    Every process opens its own files.

    Args:
        make: opens the files of a number.
    """

    def __init__(self, make: Callable[[int], Opened]) -> None:
        self._make = make
        self._kept: dict[int, Opened] = {}  # the one asked for last is last

    def __call__(self, number: int) -> Opened:
        """What is open, or opened now."""
        opened = self._kept.pop(number, None) or self._make(number)
        self._kept[number] = opened
        held = 0
        for place, (old, one) in enumerate(reversed(list(self._kept.items()))):
            held += one.held
            if place >= FILES or held > BYTES:
                self._kept.pop(old, None)  # another thread may have been faster
        return opened

    def __getstate__(self) -> dict[str, Any]:
        return {"_make": self._make, "_kept": {}}


class Part(NamedTuple):
    """A part of what is open, as an image of its own.

    Attributes:
        whole: what it is a part of.
        region: which.
        name: what outputs made from it are called; that of the whole when None.
    """

    whole: Readable
    region: Region
    name: str | None = None

    @property
    def shape(self) -> Shape:
        """*S of the part."""
        return extent(self.region)

    def truth(self, region: Region) -> Segmentation | None:
        """What is in a region of the part."""
        return self.whole.truth(self._there(region))

    def sample(self, region: Region, truth: Segmentation | None) -> DataSample:
        """The image of a region of the part."""
        sample = self.whole.sample(self._there(region), truth)
        if self.name is not None:
            sample.meta["name"] = self.name
        return sample

    def _there(self, region: Region) -> Region:
        """The same region in the whole."""
        return tuple(
            slice(own.start + part.start, own.start + part.stop)
            for own, part in zip(self.region, region, strict=True)
        )
