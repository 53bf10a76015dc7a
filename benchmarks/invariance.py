"""Objects against overlap, and a run that is killed again and again.

python -m benchmarks.invariance curve PICTURE           quality against overlap, three segmenters
python -m benchmarks.invariance killed FOLDER [SHAPE]   512x1024x1024, killed until it ends; takes
                                                        3 GB of disk in FOLDER, which must be new
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import ndimage

from microtome.geometry import Shape, window
from microtome.inference import predict
from microtome.structures import DataSample, Instances, LabelLayers, Segmentation
from microtome.testing.known_objects import (
    EACH,
    BlankImage,
    KnownObjects,
    TruthReader,
    panoptic_quality,
)
from microtome.testing.labels_on_disk import LabelsOnDisk

from .stitching import CELL, store

SHAPE, LARGEST, TILE = (64, 160, 160), 32, 70
OVERLAPS = (0, 1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44)
LARGE = "512x1024x1024"
FIRST, LATER = 3, 1.3  # seconds until the first SIGKILL, and how much later each next one is


class Parts:
    """Gives every connected part that a tile shows a number, blind along the tile's borders."""

    def __init__(self, truth: KnownObjects, blind: int) -> None:
        self.reader = TruthReader(truth, blind=blind)

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        return [self._split(r) for r in self.reader.predict_samples(list(samples))]

    def _split(self, result: Segmentation) -> Segmentation:
        assert result.instances is not None and result.instances.masks is not None
        seen = result.instances.masks.maps[0].numpy()
        parts = np.zeros_like(seen)
        count = 0
        for number, box in enumerate(ndimage.find_objects(seen), start=1):
            if box is not None:
                found, more = ndimage.label(seen[box] == number)
                parts[box][found > 0] = found[found > 0] + count
                count += more
        masks = LabelLayers(torch.from_numpy(parts)[None], torch.arange(1, count + 1))
        return Segmentation(instances=Instances(torch.ones(count, dtype=torch.long), masks=masks))


def curve(picture: Path) -> None:
    truth = KnownObjects(SHAPE, cell=LARGEST)
    ids = truth.read(window(SHAPE))
    models = {
        "sees all of its tile": TruthReader(truth),
        "knows connected parts only": Parts(truth, 0),
        "the same, blind 4 px along borders": Parts(truth, 4),
    }
    figure = Figure(figsize=(7.5, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    for (name, model), style in zip(models.items(), ("o-", "s-", "^-"), strict=True):
        errors = []
        for overlap in OVERLAPS:
            found = predict(BlankImage(SHAPE), model, tile=TILE, overlap=overlap).instances
            assert found is not None and found.masks is not None
            errors.append(1 - panoptic_quality(found.masks.maps[0].numpy(), ids))
        print(name, dict(zip(OVERLAPS, np.round(errors, 4).tolist(), strict=True)), flush=True)
        axes.plot(np.array(OVERLAPS) / LARGEST, errors, style, label=name, markersize=4)
    axes.axvline(1, color="#b5b5bd", linewidth=1)
    axes.set_xlabel("overlap / extent of the largest object")
    axes.set_ylabel("1 - PQ")
    axes.set_ylim(bottom=-0.01)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(picture)


def killed(folder: Path, shape: Shape) -> None:
    """Kill a run again and again, each time later, until one ends; compare with the truth."""
    child = f"from benchmarks.stitching import *; stitch({shape}, Path({str(folder)!r}))"
    folder.mkdir(parents=True)
    kills, wait, start = 0, FIRST, time.perf_counter()
    while True:
        process = subprocess.Popen([sys.executable, "-c", child])
        try:
            if process.wait(wait):
                raise SystemExit("the run failed")
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills, wait = kills + 1, wait * LATER
    seconds = time.perf_counter() - start
    wrong, objects, split = compare(store(shape, folder), KnownObjects(shape, cell=CELL))
    print(
        f"{'x'.join(map(str, shape))}: {kills} kills in {seconds:.0f} s, {objects} objects, "
        f"{split} of them not one to one, {wrong} voxels wrong"
    )
    if kills == 0 or wrong or split:
        raise SystemExit(1)


def compare(found: LabelsOnDisk, truth: KnownObjects) -> tuple[int, int, int]:
    """Chunk by chunk, whichever ids objects got: voxels that are wrong, objects, and those of them
    that share an id with another one or with the background."""
    ids = np.zeros(EACH * prod(-(-s // truth.cell) for s in truth.shape) + 1, np.int64)
    known = np.zeros(len(ids), bool)
    wrong = 0
    for corner in product(*(range(0, s, c) for s, c in zip(found.shape, found.chunk, strict=True))):
        region = tuple(
            slice(a, min(a + c, s))
            for a, c, s in zip(corner, found.chunk, found.shape, strict=True)
        )
        true, here = truth.read(region).ravel(), found.read(region).ravel()
        present, first = np.unique(true, return_index=True)
        new = ~known[present]  # what an object is called where it is met first
        ids[present[new]], known[present] = here[first[new]], True
        wrong += int((ids[true] != here).sum())
    named = ids[known]
    return wrong, len(named) - 1, len(named) - len(np.unique(named))


def _shape(told: str) -> Shape:
    return tuple(map(int, told.split("x")))


if __name__ == "__main__":
    what, place, *more = sys.argv[1:]
    if what == "curve":
        curve(Path(place))
    else:
        killed(Path(place), _shape(more[0] if more else LARGE))
