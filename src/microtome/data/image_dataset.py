"""Image files with masks and label maps as a data set."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..geometry import window
from ..structures import Classes, DataSample
from .datasets import SampleDataset, Transform
from .manifest import read_manifest
from .records import SPLITS, Reading, Record, unique_names
from .spelling import unknown
from .stores import Source, open_source
from .truth import read_truth


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


class ImageDataset(SampleDataset):
    """One sample per record, read when it is asked for.

    Args:
        records: the files of each image.
        classes: the class table of the masks.
        reading: how files are read.
        transforms: applied in order, each with its own chance.
        seed: with the epoch and the item it determines every random choice.
    """

    def __init__(
        self,
        records: Sequence[Record],
        classes: Classes,
        reading: Reading | None = None,
        transforms: Sequence[Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(transforms, seed)
        self.records, self.classes = tuple(records), classes.checked()
        self.reading = reading or Reading()
        self.names = unique_names(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def source(self, item: int) -> Source:
        """The image alone."""
        return source_of(self.records[item], self.reading)

    def load(self, item: int) -> DataSample:
        """Image, truth (None where the record names no file for it), spacing and statistics.

        Raises ImageReadError naming the file and what is wrong with it.
        """
        source, record = self.source(item), self.records[item]
        info = source.info
        return DataSample(
            torch.from_numpy(source.read(window(info.shape))),
            read_truth(record, info.shape, self.classes, self.reading),
            info.spacing,
            info.channels,
            intensity=source.intensity,
            meta={"name": self.names[item], "path": str(record.image)},
        )


class ManifestDataset(ImageDataset):
    """One split of a JSON manifest.

    Args:
        manifest: the file; `microtome.data.manifest` says what stands in it.
        split: train, val or test.
        transforms: applied in order, each with its own chance.
        seed: with the epoch and the item it determines every random choice.

    Raises ManifestError listing everything wrong with the file.
    """

    def __init__(
        self, manifest: str, split: str, transforms: Sequence[Transform] = (), seed: int = 0
    ) -> None:
        wrong = unknown((split,), SPLITS, "split")
        if wrong:
            raise ValueError(wrong[0])
        catalogue = read_manifest(manifest)
        super().__init__(
            catalogue.splits[split], catalogue.classes, catalogue.reading, transforms, seed
        )
