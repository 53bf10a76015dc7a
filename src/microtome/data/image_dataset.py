"""Image files with masks and label maps as a data set."""

from __future__ import annotations

from collections.abc import Sequence

from ..structures import Classes
from .datasets import RegionDataset, Transform
from .manifest import read_manifest
from .opened import KeptOpen, Opened, source_of
from .records import SPLITS, Reading, Record, unique_names
from .spelling import unknown
from .stores import Source


class ImageDataset(RegionDataset):
    """One sample per record, read when it is asked for; crops of volumes are read alone.

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
        self._opened = KeptOpen(self._open)

    def __len__(self) -> int:
        return len(self.records)

    def source(self, item: int) -> Source:
        """The image alone."""
        return source_of(self.records[item], self.reading)

    def open(self, item: int) -> Opened:
        """The files of an image.

        Raises ImageReadError naming the file and what is wrong with it.
        """
        return self._opened(item)

    def _open(self, item: int) -> Opened:
        return Opened(self.records[item], self.classes, self.reading, self.names[item])


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
