"""What is in one sample of a data set, and everything that is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import NamedTuple

from ..geometry import Spacing
from ..structures import Classes, Intensity, Segmentation
from .crowding import Window
from .datasets import SampleDataset
from .image_dataset import ImageDataset
from .label_maps import read_map
from .object_facts import ObjectFacts, object_facts
from .objects import Objects, read_objects
from .records import Record
from .stores import ImageReadError, Source, SourceInfo
from .stores.archives import opened, size_of
from .truth import Integers, as_classes, value_counts, with_objects, wrong_values


class Finding(NamedTuple):
    """What was found in one sample.

    Attributes:
        mark: what the fingerprint knows it by: its name and the sizes of its files.
        problems: what is wrong with it.
        info, intensity: of its image, when that could be read.
        values: pixels by raw value of its mask, or by class where there is no mask file.
        pixels: pixels by class.
        objects: what is known of its objects, None where nothing says them.
        has_truth: whether a mask or anything else says what is in it.
        digest: of the bytes of its image file; the same for copies under other names.
    """

    mark: str
    problems: tuple[str, ...] = ()
    info: SourceInfo | None = None
    intensity: Intensity | None = None
    values: Mapping[int, int] = {}
    pixels: Mapping[int, int] = {}
    objects: ObjectFacts | None = None
    has_truth: bool = False
    digest: str | None = None


Findings = Mapping[str, Sequence[Finding]]  # by split


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
    return Finding(
        f"{name} {sample.shape}",
        (f"{name}: {wrong}",) if wrong else (),
        info,
        sample.intensity,
        counts,
        counts,
        None if truth is None else _facts(truth, classes, sample.spacing, crop, 0),
        truth is not None,
    )


def _examine_files(data: ImageDataset, item: int, classes: Classes, crop: Window | None) -> Finding:
    record = data.records[item]
    problems: list[str] = []
    source = _opened(data, item, problems)
    info = None if source is None else source.info
    mask, wrong = _mask(data, record, info, problems), None
    values, pixels = dict[int, int](), Counter[int]()
    if mask is not None:
        values = value_counts(mask)
        wrong = wrong_values(values, classes, data.reading.mask_values)
        problems += [f"{record.mask}: {wrong}"] if wrong else []
    for value, count in values.items():
        pixels[(data.reading.mask_values or {}).get(value, value)] += count
    objects = _objects(data, record, info, problems)
    facts = None
    if objects is not None:
        class_map = None if mask is None or wrong else as_classes(mask, data.reading)
        truth = with_objects(objects, class_map, record, classes)
        facts = _facts(truth, classes, info and info.spacing, crop, objects.lost)
        if record.mask is None and truth.classes is not None:
            pixels = Counter(values := value_counts(truth.classes.numpy()))
    elif not record.mask and not record.labels and record.value is not None and info is not None:
        values = pixels = Counter({record.value: prod(info.shape)})
    return Finding(
        _mark(data.names[item], record[:3]),
        tuple(problems),
        info,
        None if source is None else source.intensity,
        values,
        pixels,
        facts,
        record.has_truth,
        None if source is None else _digest(record.image),
    )


def _facts(
    truth: Segmentation, classes: Classes, spacing: Spacing | None, crop: Window | None, lost: int
) -> ObjectFacts | None:
    objects = truth.instances
    if objects is None or objects.masks is None:
        return None
    labels, count = objects.labels.numpy(), classes.num_classes
    return object_facts(objects.masks, labels, count, spacing=spacing, crop=crop, lost=lost)


def _opened(data: ImageDataset, item: int, problems: list[str]) -> Source | None:
    try:
        return data.source(item)
    except ImageReadError as error:
        problems.append(str(error))
        return None


def _mask(
    data: ImageDataset, record: Record, info: SourceInfo | None, problems: list[str]
) -> Integers | None:
    """A mask, or None and a problem: that it has another shape than its image, too."""
    if record.mask is None:
        return None
    try:
        return read_map(record.mask, info and info.shape, data.reading.mask_encoding)
    except ImageReadError as error:
        problems.append(str(error))
        return None


def _objects(
    data: ImageDataset, record: Record, info: SourceInfo | None, problems: list[str]
) -> Objects | None:
    if record.labels is None or info is None:
        return None
    try:
        return read_objects(record, info.shape, data.classes, data.reading)
    except ImageReadError as error:
        problems.append(str(error))
        return None


def _digest(file: Path) -> str | None:
    """None for what is no single file."""
    if size_of(file) is None:
        return None
    digest = blake2b(digest_size=16)
    with opened(file) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _mark(name: str, files: Sequence[Path | None]) -> str:
    sizes = (None if file is None else size_of(file) for file in files)
    return " ".join((name, *(str(-1 if size is None else size) for size in sizes)))
