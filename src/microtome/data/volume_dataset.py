"""Volumes with label maps as a data set: each sample is a region, and only that is ever read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..geometry import Region, window
from ..structures import Classes
from .databases.joining import CORNERS, SPACE, SPACING, Row, shape_of
from .datasets import RegionDataset, Transform
from .opened import KeptOpen, Opened, Part
from .records import Reading, Record
from .stores import ImageReadError
from .stores.places import from_root


class VolumeDataset(RegionDataset):
    """One sample per row of a table of tiles, as `Database.initialise` makes it.

    A pixel of a labelled object has the class 1, others 0; ids are kept as they are in the file.

    Args:
        rows: the tiles; where they lie, in which files.
        classes: the class table.
        reading: how files are read; a row's spacing wins over the file's.
        root: the folder that relative paths start from.
        group: the column of what a split must not tear apart, such as the specimen.
        transforms: applied in order, each with its own chance.
        seed: with the epoch and the item it determines every random choice.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        classes: Classes,
        reading: Reading | None = None,
        root: Path = Path(),
        group: str | None = None,
        transforms: Sequence[Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(transforms, seed)
        self.classes, self.reading = classes.checked(), reading or Reading()
        index: dict[Any, int] = {}
        volumes = [index.setdefault(volume_of(row), len(index)) for row in rows]
        first = dict(zip(volumes, rows, strict=True))
        self.records = tuple(record_of(first[v], root, group) for v in range(len(index)))
        self.shapes = tuple(shape_of(first[v]) for v in range(len(index)))
        self._volumes = np.array(volumes, np.int64)
        corners = [[row[corner] for corner in CORNERS[2:]] for row in rows]
        self._corners = np.array(corners, np.int64).reshape(-1, len(SPACE), 2)
        self._opened = KeptOpen(self._open)

    def __len__(self) -> int:
        return len(self._volumes)

    def region(self, item: int) -> Region:
        """Where a tile lies in its volume."""
        dims = len(self.shapes[self._volumes[item]])
        return tuple(slice(int(a), int(b)) for a, b in self._corners[item, -dims:])

    def record(self, item: int) -> Record:
        """The files of a tile's volume."""
        return self.records[int(self._volumes[item])]

    def open(self, item: int) -> Part:
        """A tile of a volume, whose files stay open for a while.

        Raises ImageReadError, also when their shape is not the table's.
        """
        return Part(self.volume(item), self.region(item), self._name(item))

    def volume(self, item: int) -> Opened:
        """The files of a tile's volume."""
        return self._opened(int(self._volumes[item]))

    def _open(self, volume: int) -> Opened:
        record, stated = self.records[volume], self.shapes[volume]
        opened = Opened(record, self.classes, self.reading, record.name)
        if opened.shape != stated:
            found, said = (" x ".join(map(str, shape)) for shape in (opened.shape, stated))
            raise ImageReadError(record.image, f"is {found}, and {said} in the database")
        return opened

    def _name(self, item: int) -> str:
        """The image's name, its time where there are several, and where a tile of it begins."""
        record, region = self.record(item), self.region(item)
        time = "" if record.time is None else f"_t{record.time}"
        if region == window(self.shapes[self._volumes[item]]):
            return record.name + time
        corner = (f"_{a}{s.start}" for a, s in zip(SPACE[-len(region) :], region, strict=True))
        return record.name + time + "".join(corner)


def volume_of(row: Row) -> tuple[Any, int]:
    """What all tiles of a volume share: the image and the time."""
    return row["img_id"], row["t0"]


def record_of(row: Row, root: Path, group: str | None = None) -> Record:
    """The files of a row's volume; the time is None where there is one only."""
    spacing = tuple(row.get(column) for column in SPACING[-len(shape_of(row)) :])
    label = row.get("label_path")
    return Record(
        from_root(root, row["img_path"]),
        labels=None if label is None else from_root(root, label),
        group=None if group is None else str(row[group]),
        spacing=None if None in spacing else spacing,  # type: ignore[arg-type]
        time=row["t0"] if (row.get("t") or 1) > 1 else None,
    )
