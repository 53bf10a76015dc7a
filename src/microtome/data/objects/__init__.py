"""The objects of an image, in whatever form a file says them.

| `labels` of a record | objects |
|---|---|
| a map of pixels, of any store | `index`: values are numbers; `components`: connected regions |
| a folder | one mask file for each |
| `.json` of COCO | outlines or run lengths, with categories; crowds are not judged |
| `.geojson`, `.json`, `.geojson.gz` of QuPath | outlines with holes, with classifications |

A table may say the class of each object of a map or folder by its number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ...geometry import Shape
from ...structures import Classes, LabelLayers
from ..label_maps import read_map
from ..records import Reading, Record
from ..stores.archives import is_folder
from ..stores.zarr_arrays import is_zarr
from .naming import class_indices
from .numbered import Values, masks_in, numbered
from .outlines import is_outlines, outlined
from .parts import Mask, Part, covered, layered, painted

__all__ = ["Objects", "is_map", "objects_of", "painted", "read_objects"]


class Objects(NamedTuple):
    """The objects of one image.

    Attributes:
        layers: their masks, with the ids of the file.
        labels: [N] the class of each, None where no file says it.
        ignored: [*S] True on regions that are not judged; None when all is.
        lost: how many have no pixel: too thin, or outside of the image.
    """

    layers: LabelLayers
    labels: npt.NDArray[np.int64] | None = None
    ignored: Mask | None = None
    lost: int = 0


def is_map(file: Path) -> bool:
    """Whether a file says the objects as a map of pixels."""
    return not is_outlines(file) and (not is_folder(file) or is_zarr(file))


def read_objects(record: Record, shape: Shape, classes: Classes, reading: Reading) -> Objects:
    """Read the objects of an image of `shape` whose record names `labels`.

    Objects of class 0, which is what lies around objects, are left out; those whose class is
    `ignore_index` become ignored regions.

    Raises ImageReadError for what cannot be read, has another shape, or a class that is not known.
    """
    assert record.labels is not None
    file, table = record.labels, reading.object_table
    words: Sequence[str | None] | None = None
    if is_map(file):
        return objects_of(read_map(file, shape), record, classes, reading)
    if is_outlines(file):
        parts = outlined(file, record.image, shape)
        words = [part.word for part in parts]
    else:
        parts = masks_in(file, shape)
    if table is not None:
        words = table.words(record.name, [part.number for part in parts])
    if words is None:
        layers = layered(parts, shape)
        return Objects(layers, lost=len(parts) - len(layers))
    return _of_parts(parts, class_indices(file, words, classes, reading), shape, classes)


def objects_of(values: Values, record: Record, classes: Classes, reading: Reading) -> Objects:
    """The objects of a map of pixels, or of a region of it; see `read_objects`."""
    assert record.labels is not None
    layers, table = (
        numbered(record.labels, values, reading.labels_encoding),
        reading.object_table,
    )
    if table is None:
        return Objects(layers)
    words = table.words(record.name, layers.ids.tolist())
    labels = class_indices(table.csv, words, classes, reading)
    ignored = np.isin(layers.maps[0].numpy(), 1 + np.flatnonzero(labels == classes.ignore_index))
    wanted = np.concatenate(([False], (labels != 0) & (labels != classes.ignore_index)))
    layers, kept = _only(layers, wanted)
    return Objects(layers, labels[kept], ignored if ignored.any() else None)


def _of_parts(
    parts: Sequence[Part], labels: npt.NDArray[np.int64], shape: Shape, classes: Classes
) -> Objects:
    wanted, unjudged = [], []
    for part, label in zip(parts, labels.tolist(), strict=True):
        if label == classes.ignore_index or (part.crowd and label != 0):
            unjudged.append(part)
        elif label != 0:
            wanted.append((part, label))
    seen = [(part, label) for part, label in wanted if part.mask.any()]
    return Objects(
        layered([part for part, _ in seen], shape),
        np.array([label for _, label in seen], np.int64),
        covered(unjudged, shape) if unjudged else None,
        len(wanted) - len(seen),
    )


def _only(
    layers: LabelLayers, wanted: npt.NDArray[np.bool_]
) -> tuple[LabelLayers, npt.NDArray[np.int64]]:
    """The objects wanted [N + 1], and their indices."""
    maps = layers.maps * torch.from_numpy(wanted)[layers.maps.long()]
    found, kept = LabelLayers(maps, layers.ids).present()
    return found, kept.numpy()
