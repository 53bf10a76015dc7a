"""What is in one sample of a data set, and everything that is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

from ..structures import Classes, Intensity
from .crowding import Window, most_met
from .datasets import SampleDataset
from .image_dataset import ImageDataset
from .stores import ImageReadError, Source, SourceInfo, read_labels
from .stores.archives import size_of
from .stores.label_files import Encoding
from .truth import Integers, value_counts, wrong_shape, wrong_values


class Finding(NamedTuple):
    """What was found in one sample.

    Attributes:
        mark: what the fingerprint knows it by: its name and the sizes of its files.
        problems: what is wrong with it.
        info, intensity: of its image, when that could be read.
        values: pixels by raw value of its mask, or by class where there is no mask file.
        pixels: pixels by class.
        objects: how many it has, None without a label map.
        crowd: the most objects that one training crop can meet, None without crops or label map.
        has_truth: whether a mask or label map is named.
    """

    mark: str
    problems: tuple[str, ...] = ()
    info: SourceInfo | None = None
    intensity: Intensity | None = None
    values: Mapping[int, int] = {}
    pixels: Mapping[int, int] = {}
    objects: int | None = None
    crowd: int | None = None
    has_truth: bool = False


def examine(
    data: SampleDataset, item: int, classes: Classes, crop: Window | None = None
) -> Finding:
    """Read one sample, image and truth apart, so that each tells its own problem.

    `crop` is the shape of training crops, for which `crowd` is counted.
    """
    return (
        _examine_files(data, item, classes, crop)
        if isinstance(data, ImageDataset)
        else _examine_sample(data, item, classes, crop)
    )


def _examine_sample(
    data: SampleDataset, item: int, classes: Classes, crop: Window | None
) -> Finding:
    """A data set that is not made of files: what it loads."""
    try:
        sample = data.load(item)
    except ImageReadError as error:
        return Finding(str(item), (str(error),))
    name, truth = str(sample.meta.get("name", item)), sample.truth
    info = SourceInfo(name, sample.shape, sample.channels, sample.spacing, "float32")
    class_map = None if truth is None else truth.classes
    counts = {} if class_map is None else value_counts(class_map.numpy())
    wrong = wrong_values(counts, classes, None)
    objects = None if truth is None else truth.instances
    masks = None if objects is None else objects.masks
    return Finding(
        f"{name} {sample.shape}",
        (f"{name}: {wrong}",) if wrong else (),
        info,
        sample.intensity,
        counts,
        counts,
        None if objects is None else len(objects),
        None if masks is None else most_met(masks.maps.numpy(), crop),
        truth is not None,
    )


def _examine_files(data: ImageDataset, item: int, classes: Classes, crop: Window | None) -> Finding:
    record = data.records[item]
    problems: list[str] = []
    source = _opened(data, item, problems)
    info = None if source is None else source.info
    mask = _read(record.mask, info, problems, data.reading.mask_encoding)
    labels = _read(record.labels, info, problems)
    values, pixels, objects = dict[int, int](), Counter[int](), None
    if mask is not None:
        values = value_counts(mask)
        wrong = wrong_values(values, classes, data.reading.mask_values)
        problems += [f"{record.mask}: {wrong}"] if wrong else []
    for value, count in values.items():
        pixels[(data.reading.mask_values or {}).get(value, value)] += count
    if labels is not None:
        ids = value_counts(labels)
        objects = len(ids) - (0 in ids)
        if record.mask is None:
            value = 1 if record.value is None else record.value
            pixels.update({0: ids.pop(0, 0)})
            pixels.update({value: sum(ids.values())})
            values = {v: n for v, n in pixels.items() if n}
    elif record.mask is None and record.value is not None and info is not None:
        values = pixels = Counter({record.value: prod(info.shape)})
    return Finding(
        _mark(data.names[item], record[:3]),
        tuple(problems),
        info,
        None if source is None else source.intensity,
        values,
        pixels,
        objects,
        None if labels is None else most_met(labels[None], crop),
        record.has_truth,
    )


def _opened(data: ImageDataset, item: int, problems: list[str]) -> Source | None:
    try:
        return data.source(item)
    except ImageReadError as error:
        problems.append(str(error))
        return None


def _read(
    file: Path | None, info: SourceInfo | None, problems: list[str], encoding: Encoding = "index"
) -> Integers | None:
    """A mask or label map, or None and a problem; another shape than the image's is one too."""
    if file is None:
        return None
    try:
        labels = read_labels(file, encoding)
    except ImageReadError as error:
        problems.append(str(error))
        return None
    wrong = wrong_shape(labels.shape, info.shape) if info else None
    problems += [f"{file}: {wrong}"] if wrong else []
    return labels


def _mark(name: str, files: Sequence[Path | None]) -> str:
    sizes = (None if file is None else size_of(file) for file in files)
    return " ".join((name, *(str(-1 if size is None else size) for size in sizes)))
