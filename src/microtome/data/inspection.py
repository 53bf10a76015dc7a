"""Every file of a data set opened once, and all problems told at once, before training starts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import chain

import numpy as np

from ..structures import Classes
from .blocks import in_blocks
from .crowding import Window
from .datasets import SampleDataset
from .examination import Finding, Findings, examine
from .image_dataset import ImageDataset
from .leakage import copies, ungrouped
from .report import Report
from .split_report import split_report
from .splits import leaks
from .volume_dataset import VolumeDataset

__all__ = ["Report", "inspect"]

_NAMED = 8  # classes that a warning names


def inspect(
    datasets: Mapping[str, SampleDataset],
    classes: Classes,
    *,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    crop: Window | None = None,
) -> Report:
    """Open every file of every split and report everything wrong, with the facts.

    Of volumes that are large and can be read in parts some blocks are looked at.

    Args:
        datasets: by split; transforms are not applied.
        classes: the class table of the model.
        progress: called with (done, total) after each image.
        workers: threads, each holding one image; None means one per processor, at most 8.
        crop: pixels of a training crop, for which objects are counted too.
    """
    looked_at = {
        split: data if isinstance(data, ImageDataset) else in_blocks(data)
        for split, data in datasets.items()
    }
    found = _found(looked_at, classes, progress or (lambda done, total: None), workers, crop)
    records = {s: d.records for s, d in datasets.items() if isinstance(d, ImageDataset)}
    volumes = {s: d.records for s, d in datasets.items() if isinstance(d, VolumeDataset)}
    problems = [
        *_foreground_ignored(found, classes),
        *leaks(records | volumes),
        *copies(records, found),
        *_without_truth(found),
        *_nothing_judged(found, classes),
        *_unlike(found),
        *(f"{split}: {p}" for split, all_ in found.items() for f in all_ for p in f.problems),
    ]
    mean, std = _statistics(found.get("train") or list(chain(*found.values())))
    marks = "\n".join(f"{split}\t{f.mark}" for split, all_ in found.items() for f in all_)
    return Report(
        tuple(problems),
        (*ungrouped(records), *_doubts(found, classes)),
        {split: split_report(findings, classes) for split, findings in found.items()},
        classes.names,
        mean,
        std,
        sha256(marks.encode()).hexdigest(),
    )


def _found(
    datasets: Mapping[str, SampleDataset],
    classes: Classes,
    progress: Callable[[int, int], None],
    workers: int | None,
    crop: Window | None,
) -> dict[str, list[Finding]]:
    jobs = [(split, data, i) for split, data in datasets.items() for i in range(len(data))]
    found: dict[str, list[Finding]] = {split: [] for split in datasets}
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        results = pool.map(lambda job: examine(job[1], job[2], classes, crop), jobs)
        for done, ((split, _, _), finding) in enumerate(zip(jobs, results, strict=True), 1):
            found[split].append(finding)
            progress(done, len(jobs))
    return found


def _without_truth(found: Findings) -> Iterator[str]:
    for split in ("train", "val"):
        bare = [f.mark.split(" ")[0] for f in found.get(split, ()) if not f.has_truth]
        if bare:
            more = ", ..." if len(bare) > 3 else ""
            yield f"{split}: {len(bare)} without mask or labels: {', '.join(bare[:3])}{more}"


def _nothing_judged(found: Findings, classes: Classes) -> Iterator[str]:
    for split in ("train", "val"):
        seen = set(chain(*(f.pixels for f in found.get(split, ()))))
        if classes.ignore_index in seen and not seen & set(range(classes.num_classes)):
            yield f"{split}: every pixel is ignored, so there is nothing to learn or to score"


def _foreground_ignored(found: Findings, classes: Classes) -> Iterator[str]:
    """Masks stored as 0 and 255, where 255 means "ignore": nothing would be learnt or scored."""
    for split, findings in found.items():
        values = set(chain(*(f.values for f in findings)))
        pixels = set(chain(*(f.pixels for f in findings)))
        if len(values) != 2 or 0 not in values or pixels & set(range(1, classes.num_classes)):
            continue
        other = max(values)
        meaning = "ignore_index" if other == classes.ignore_index else "no class"
        yield (
            f"{split}: all foreground is {other}, which is {meaning}. If it means class 1, add to "
            f'the manifest: "mask_values": {{"0": 0, "{other}": 1}}   '
            f"(YAML: mask_values: {{0: 0, {other}: 1}})"
        )


def _unlike(found: Findings) -> Iterator[str]:
    """What one batch cannot hold together."""
    infos = [f.info for f in chain(*found.values()) if f.info is not None]
    known = sum(i.spacing is not None for i in infos)
    if 0 < known < len(infos):
        first = next(i.name for i in infos if i.spacing is None)
        yield (
            f"spacing is known for {known} of {len(infos)} images, not for {first}: "
            "give spacing_um for all of them, or for each"
        )
    counts = Counter(len(i.channels) for i in infos)
    if len(counts) > 1:
        listed = ", ".join(f"{n} images with {c}" for c, n in counts.items())
        yield f'channel counts differ: {listed}; choose "channels": "rgb" or "grey"'
    dims = Counter(len(i.shape) for i in infos)
    if len(dims) > 1:
        listed = ", ".join(f"{n} with {d}" for d, n in dims.items())
        yield f"numbers of spatial axes differ: {listed}; make a data set of each"


def _doubts(found: Findings, classes: Classes) -> Iterator[str]:
    infos = [f.info for f in chain(*found.values()) if f.info is not None]
    types = Counter(i.dtype for i in infos)
    if len(types) > 1:
        listed = ", ".join(f"{n} of {t}" for t, n in types.items())
        yield f"pixel types differ: {listed}; white is something else in each, unless levels say it"
    for split, findings in found.items():
        lost = sum(f.objects.lost for f in findings if f.objects is not None)
        if lost:
            yield f"{split}: {lost} objects have no pixel: they are too thin, or outside the image"
    train = found.get("train")
    if train:
        seen = set(chain(*((v for v, n in f.pixels.items() if n) for f in train)))
        never = [n for i, n in enumerate(classes.names) if i not in seen]
        if never:
            more = f" and {len(never) - _NAMED} more classes" if len(never) > _NAMED else ""
            names = ", ".join(never[:_NAMED])
            yield f"train: never occurs, so it cannot be learnt: {names}{more}"


def _statistics(findings: Sequence[Finding]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel over images, from those of each image."""
    known = [f.intensity for f in findings if f.intensity is not None]
    if not known or len({len(i.mean) for i in known}) > 1:
        return (), ()
    means = np.array([i.mean for i in known])
    squares = np.array([i.std for i in known]) ** 2 + means**2
    mean = means.mean(0)
    std = np.sqrt(np.maximum(squares.mean(0) - mean**2, 0))
    return tuple(mean.tolist()), tuple(std.tolist())
