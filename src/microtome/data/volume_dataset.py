"""Volumes with label maps as a data set: each sample is a region, and only that is ever read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..geometry import Placement, Region, Shape, extent, window
from ..structures import Boxes, Classes, DataSample, Instances, LabelLayers, Segmentation
from .databases.joining import CORNERS, SPACE, SPACING, Row, shape_of
from .datasets import RegionDataset, Transform
from .image_dataset import source_of
from .records import Reading, Record
from .stores import ImageReadError, LabelSource, Source, open_labels

_KEPT = 16  # volumes that a process keeps open


class Opened(NamedTuple):
    """The files of one volume, which are read by region."""

    source: Source
    labels: LabelSource | None


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
        self._opened: Callable[[int], Opened] | None = None

    def __len__(self) -> int:
        return len(self._volumes)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}  # every process opens its own files

    def shape(self, item: int) -> Shape:
        """*S of a tile."""
        return extent(self.region(item))

    def region(self, item: int) -> Region:
        """Where a tile lies in its volume."""
        dims = len(self.shapes[self._volumes[item]])
        return tuple(slice(int(a), int(b)) for a, b in self._corners[item, -dims:])

    def record(self, item: int) -> Record:
        """The files of a tile's volume."""
        return self.records[int(self._volumes[item])]

    def read(self, item: int, region: Region) -> DataSample:
        """Image, truth, spacing and statistics of a region of a tile.

        Raises ImageReadError naming the file and what is wrong with it.
        """
        volume, tile = int(self._volumes[item]), self.region(item)
        opened, shape = self.open(volume), self.shapes[volume]
        where = tuple(
            slice(t.start + r.start, t.start + r.stop) for t, r in zip(tile, region, strict=True)
        )
        placement = Placement(tuple(float(s.start) for s in where), (1.0,) * len(shape), shape)
        info = opened.source.info
        return DataSample(
            torch.from_numpy(opened.source.read(where)),
            None if opened.labels is None else self._truth(opened.labels, where),
            info.spacing,
            info.channels,
            None if where == window(shape) else placement,
            opened.source.intensity,
            {"name": self._name(item), "path": str(self.records[volume].image)},
        )

    def open(self, volume: int) -> Opened:
        """The files of a volume, kept open by this process.

        Raises ImageReadError, also when their shape is not the table's.
        """
        if self._opened is None:
            self._opened = lru_cache(maxsize=_KEPT)(self._open)
        return self._opened(volume)

    def _open(self, volume: int) -> Opened:
        record, shape = self.records[volume], self.shapes[volume]
        source = source_of(record, self.reading)
        _check(record.image, source.info.shape, shape)
        if record.labels is None:
            return Opened(source, None)
        labels = open_labels(record.labels)
        _check(record.labels, labels.shape, shape)
        return Opened(source, labels)

    def _truth(self, labels: LabelSource, region: Region) -> Segmentation:
        ids = torch.from_numpy(labels.read(region).astype(np.int64))
        layers = LabelLayers.from_ids(ids)
        ones = torch.ones(len(layers), dtype=torch.int64)
        return Segmentation((ids > 0).long(), Instances(ones, Boxes(layers.boxes()), masks=layers))

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
        root / row["img_path"],
        labels=None if label is None else root / label,
        group=None if group is None else str(row[group]),
        spacing=None if None in spacing else spacing,  # type: ignore[arg-type]
        time=row["t0"] if (row.get("t") or 1) > 1 else None,
    )


def _check(file: Path, found: Shape, stated: Shape) -> None:
    if found != stated:
        said = " x ".join(map(str, stated))
        raise ImageReadError(file, f"is {' x '.join(map(str, found))}, and {said} in the database")
