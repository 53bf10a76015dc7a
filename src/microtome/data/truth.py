"""What is in an image, from its mask and its map of object numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..geometry import Region, Shape, extent, window
from ..structures import Boxes, Classes, Instances, LabelLayers, Segmentation
from .label_maps import open_map
from .objects import Objects, is_map, objects_of, painted, read_objects
from .records import Reading, Record
from .stores import ImageReadError, LabelSource
from .stores.label_files import Encoding

Integers = npt.NDArray[np.integer]
ClassMap = npt.NDArray[np.int64]
_DENSE = 1 << 20  # above this value, counting by a table costs more than sorting


class Truth:
    """What is in one image, read as a whole or by region; it pickles.

    A region is read alone where it says itself what is in it. Where it does not, all of the image's
    truth is read and cut: the class of an object is the one most of its pixels have in a mask,
    regions are connected across borders, and outlines are no pixels yet.

    Args:
        record: the files.
        shape: *S of the image.
        classes: the class table.
        reading: how files are read.
    """

    def __init__(self, record: Record, shape: Shape, classes: Classes, reading: Reading) -> None:
        self.record, self.shape, self.classes, self.reading = record, shape, classes, reading
        self._maps: dict[Path, LabelSource] = {}

    def read(self, region: Region | None = None) -> Segmentation | None:
        """Classes (int64) and objects of a region; None when the record has no truth.

        Without a mask, pixels have the class of their object and 0 elsewhere; `record.value` is the
        class of objects that have no other. Without labels too, it is the class of every pixel.
        With a mask, an object without a judged pixel is dropped, and one that has no class of its
        own has the one most of its judged pixels have.

        Raises ImageReadError for what cannot be read, fits no class, or has another shape.
        """
        everything = window(self.shape)
        if region is None or region == everything or self.by_region:
            return self._read(everything if region is None else region)
        found = self._read(everything)
        return found and found.crop(region)

    @property
    def by_region(self) -> bool:
        """Whether a region can be read alone."""
        record = self.record
        if record.labels is None:
            return True
        numbers = self.reading.labels_encoding == "index" and is_map(record.labels)
        return numbers and record.mask is None

    def _read(self, region: Region) -> Segmentation | None:
        record, classes, reading = self.record, self.classes, self.reading
        class_map = None
        if record.mask is not None:
            raw = self._map(record.mask, reading.mask_encoding).read(region)
            wrong = wrong_values(value_counts(raw), classes, reading.mask_values)
            if wrong:
                raise ImageReadError(record.mask, wrong)
            class_map = as_classes(raw, reading)
        if record.labels is not None:
            return with_objects(self._objects(record.labels, region), class_map, record, classes)
        if class_map is None and record.value is not None:
            class_map = np.full(extent(region), record.value, np.int64)
        return None if class_map is None else Segmentation(torch.from_numpy(class_map))

    def _objects(self, labels: Path, region: Region) -> Objects:
        if not is_map(labels):
            return read_objects(self.record, self.shape, self.classes, self.reading)
        values = self._map(labels, "index").read(region)
        return objects_of(values, self.record, self.classes, self.reading)

    def _map(self, file: Path, encoding: Encoding) -> LabelSource:
        """Opened once."""
        if file not in self._maps:
            self._maps[file] = open_map(file, self.shape, encoding)
        return self._maps[file]


def read_truth(
    record: Record, shape: Shape, classes: Classes, reading: Reading
) -> Segmentation | None:
    """All of an image's truth; see `Truth`."""
    return Truth(record, shape, classes, reading).read()


def with_objects(
    objects: Objects, class_map: ClassMap | None, record: Record, classes: Classes
) -> Segmentation:
    """The truth of an image with objects; `class_map` [*S] is its mask's, where it has one."""
    layers, labels = objects.layers, objects.labels
    if class_map is not None:
        layers, labels = _judged(objects, class_map, classes)
    else:
        if labels is None:
            labels = np.full(len(layers), 1 if record.value is None else record.value, np.int64)
        class_map = painted(layers, labels)
        if objects.ignored is not None:
            free = (layers.maps == 0).all(0).numpy()
            class_map[objects.ignored & free] = classes.ignore_index
    instances = Instances(torch.from_numpy(labels), Boxes(layers.boxes()), masks=layers)
    return Segmentation(torch.from_numpy(class_map), instances)


def as_classes(raw: Integers, reading: Reading) -> ClassMap:
    """From the values of a mask, which are known to be right, to classes."""
    if reading.mask_values is None:
        return raw.astype(np.int64)
    table = np.zeros(max(reading.mask_values) + 1, np.int64)
    table[list(reading.mask_values)] = list(reading.mask_values.values())
    return np.asarray(table[raw])


def value_counts(values: Integers) -> dict[int, int]:
    """How many pixels have each value."""
    if values.size and int(values.max()) < _DENSE:
        counts = np.bincount(values.ravel())
        found = counts.nonzero()[0]
        return dict(zip(found.tolist(), counts[found].tolist(), strict=True))
    unique, counts = np.unique(values, return_counts=True)
    return dict(zip(unique.tolist(), counts.tolist(), strict=True))


def wrong_values(
    found: Iterable[int], classes: Classes, mask_values: Mapping[int, int] | None
) -> str | None:
    """What is wrong with the values of a mask, or None."""
    known = (
        (*range(classes.num_classes), classes.ignore_index) if mask_values is None else mask_values
    )
    wrong = sorted(set(found) - set(known))
    if not wrong:
        return None
    listed = ", ".join(map(str, wrong[:8])) + (", ..." if len(wrong) > 8 else "")
    if mask_values is not None:
        return f"holds values that mask_values does not name: {listed}"
    return (
        f"holds values that are neither classes (0 to {classes.num_classes - 1}) "
        f"nor ignore_index {classes.ignore_index}: {listed}; map them with mask_values"
    )


def _judged(
    objects: Objects, class_map: ClassMap, classes: Classes
) -> tuple[LabelLayers, npt.NDArray[np.int64]]:
    """The objects that have a judged pixel, and their classes."""
    judged = class_map != classes.ignore_index
    votes = _votes(objects.layers, class_map, judged, classes.num_classes)
    seen = votes.any(1)
    maps = (
        objects.layers.maps * torch.from_numpy(np.append(False, seen))[objects.layers.maps.long()]
    )
    layers, _ = LabelLayers(maps, objects.layers.ids).present()
    labels = votes.argmax(1) if objects.labels is None else objects.labels
    return layers, labels[seen].astype(np.int64)


def _votes(
    layers: LabelLayers, class_map: npt.NDArray[np.int64], judged: npt.NDArray[np.bool_], count: int
) -> npt.NDArray[np.int64]:
    """[N, K] how many judged pixels of each object have each class."""
    numbers = layers.maps.numpy()[:, judged].astype(np.int64) * count + class_map[judged]
    votes = np.bincount(numbers.ravel(), minlength=(len(layers) + 1) * count)
    return np.asarray(votes.reshape(-1, count)[1:])
