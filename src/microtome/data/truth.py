"""What is in an image, from its mask and its map of object numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..geometry import Shape
from ..structures import Classes, Instances, LabelLayers, Segmentation
from .records import Reading, Record
from .stores import ImageReadError, read_labels

Integers = npt.NDArray[np.integer]
_DENSE = 1 << 20  # above this value, counting by a table costs more than sorting


def read_truth(
    record: Record, shape: Shape, classes: Classes, reading: Reading
) -> Segmentation | None:
    """Classes (int64) and objects of an image of `shape`; None when its record has no truth.

    Without a mask, `record.value` is the class of all objects and 0 that of the rest; without
    labels too, it is the class of every pixel. With mask and labels, an
    object's label is the class most of its judged pixels have; one without such a pixel is dropped.

    Raises ImageReadError for what cannot be read, fits no class, or has another shape.
    """
    class_map = None if record.mask is None else _class_map(record.mask, shape, classes, reading)
    if record.labels is None:
        if class_map is None and record.value is not None:
            class_map = np.full(shape, record.value, np.int64)
        return None if class_map is None else Segmentation(torch.from_numpy(class_map))
    ids = _checked_shape(record.labels, read_labels(record.labels), shape).astype(np.int64)
    if class_map is None:
        value = 1 if record.value is None else record.value
        layers = LabelLayers.from_ids(torch.from_numpy(ids))
        class_map = np.where(ids > 0, value, 0)
        labels = torch.full((len(layers),), value)
    else:
        judged = class_map != classes.ignore_index
        seen = np.isin(ids, np.unique(ids[judged]))
        layers = LabelLayers.from_ids(torch.from_numpy(np.where(seen, ids, 0)))
        labels = _majority(layers, class_map, judged, classes.num_classes)
    return Segmentation(torch.from_numpy(class_map), Instances(labels, masks=layers))


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


def wrong_shape(shape: Shape, image: Shape) -> str | None:
    """What is wrong with the shape of a mask, or None."""
    if shape == image:
        return None
    reason = f"is {_times(shape)} pixels, but its image {_times(image)}"
    if shape[:-2] == image[:-2] and shape[-2:] == image[-2:][::-1]:
        reason += (
            "; it lies on its side: the image's EXIF orientation was applied, and the mask has "
            "none. Turn the mask, or strip the orientation from the image"
        )
    return reason


def _times(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _class_map(
    file: Path, shape: Shape, classes: Classes, reading: Reading
) -> npt.NDArray[np.int64]:
    raw = _checked_shape(file, read_labels(file, reading.mask_encoding), shape)
    wrong = wrong_values(value_counts(raw), classes, reading.mask_values)
    if wrong:
        raise ImageReadError(file, wrong)
    if reading.mask_values is None:
        return raw.astype(np.int64)
    table = np.zeros(max(reading.mask_values) + 1, np.int64)
    table[list(reading.mask_values)] = list(reading.mask_values.values())
    return np.asarray(table[raw])


def _checked_shape(file: Path, labels: Integers, shape: Shape) -> Integers:
    wrong = wrong_shape(labels.shape, shape)
    if wrong:
        raise ImageReadError(file, wrong)
    return labels


def _majority(
    layers: LabelLayers, class_map: npt.NDArray[np.int64], judged: npt.NDArray[np.bool_], count: int
) -> torch.Tensor:
    """[N] the class that most judged pixels of each object have."""
    numbers = layers.maps[0].numpy()[judged].astype(np.int64)
    votes = np.bincount(numbers * count + class_map[judged], minlength=(len(layers) + 1) * count)
    return torch.from_numpy(votes.reshape(-1, count)[1:].argmax(1))
