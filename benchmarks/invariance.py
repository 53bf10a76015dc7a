"""Objects against overlap, and a run that is killed again and again.

python -m benchmarks.invariance curve PICTURE     quality against overlap, for three segmenters
python -m benchmarks.invariance killed FOLDER     512×1024×1024, SIGKILL every minute, until it ends
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import ndimage

from microtome.geometry import Region, window
from microtome.inference import predict
from microtome.structures import DataSample, Instances, LabelLayers, Segmentation
from microtome.testing.known_objects import (
    BlankImage,
    KnownObjects,
    TruthReader,
    panoptic_quality,
)

from .stitching import CELL

SHAPE, LARGEST, TILE = (64, 160, 160), 32, 70
OVERLAPS = (0, 1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44)
LARGE = (512, 1024, 1024)


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


def killed(folder: Path, seconds: float = 60) -> None:
    child = f"from benchmarks.stitching import *; stitch({LARGE}, Path({str(folder)!r}))"
    kills = 0
    while True:
        process = subprocess.Popen([sys.executable, "-c", child])
        try:
            if process.wait(seconds):
                raise SystemExit("the run failed")
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    wrong, largest = compare(folder)
    print(f"{kills} kills, {largest} objects, {wrong} voxels wrong")


def compare(folder: Path) -> tuple[int, int]:
    """Compare slab by slab: voxels that are not as in the truth, ids being one to one; ids."""
    truth = KnownObjects(LARGE, cell=CELL)
    found = np.memmap(folder / "labels.raw", np.uint32, "r", shape=LARGE)
    table = np.zeros(0, np.int64)
    wrong = largest = 0
    for start in range(0, LARGE[0], CELL):
        region: Region = (slice(start, start + CELL), *window(LARGE[1:]))
        true, here = truth.read(region), np.asarray(found[region]).astype(np.int64)
        table = np.append(table, np.zeros(max(0, int(true.max()) + 1 - len(table)), np.int64))
        table[true.ravel()] = here.ravel()
        wrong += int((table[true] != here).sum())
        largest = max(largest, int(here.max()))
    used = table[table > 0]
    if len(np.unique(used)) != len(used) or table[0]:
        raise SystemExit("objects were joined that are not one")
    return wrong, largest


if __name__ == "__main__":
    {"curve": curve, "killed": killed}[sys.argv[1]](Path(sys.argv[2]))
