"""Objects of volumes put together: pixels per second, and memory that does not grow with them.

The segmenter reads the truth, so the time is that of tiles, comparison and painting; its own time
is measured apart. `microtome.testing.known_objects` says what the objects are.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch

from microtome.geometry import Shape
from microtome.inference import Tiling, predict_to
from microtome.inference.running import TileRun
from microtome.structures import DataSample, Segmentation
from microtome.testing.known_objects import BlankImage, KnownObjects, LabelsOnDisk, TruthReader

from .harness import Case

CELL, CHUNK = 64, (128, 128, 128)
TILING = Tiling(tile=160, overlap=64, batch_size=1)
EDGES = (256, 512, 1024)

CHILD = """
import resource, sys
from pathlib import Path
from benchmarks.stitching import stitch
import scipy.sparse.csgraph, microtome.inference
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
stitch((int(sys.argv[1]),) * 3, Path(sys.argv[2]))
print(peak() - before)
"""


class Timed:
    """A model, and the seconds it took."""

    def __init__(self, model: TruthReader) -> None:
        self.model, self.seconds = model, 0.0

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        start = time.perf_counter()
        found = self.model.predict_samples(list(samples))
        self.seconds += time.perf_counter() - start
        return found


def stitch(shape: Shape, folder: Path, tiling: Tiling = TILING, workers: int = 0) -> Timed:
    """Write the labels of a volume of known objects into `folder`."""
    store = LabelsOnDisk(folder / "labels.raw", shape, CHUNK)
    model = Timed(TruthReader(KnownObjects(shape, cell=CELL)))
    work = folder / "work"
    predict_to(BlankImage(shape), model, store, work=work, tiling=tiling, workers=workers)
    return model


def cases() -> Iterator[Case]:
    """Nothing does the same."""
    return iter(())


def growth() -> Iterator[dict[str, Any]]:
    for edge in EDGES:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            told = subprocess.run(
                [sys.executable, "-c", CHILD, str(edge), folder],
                check=True,
                capture_output=True,
                text=True,
            )
            seconds = time.perf_counter() - start
        yield {"edge": edge, "peak_bytes": int(told.stdout.split()[-1]), "child_seconds": seconds}
    yield speed((256, 512, 512))


def speed(shape: Shape) -> dict[str, Any]:
    """Pixels per second without the model's own time, of one thread."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        model = stitch(shape, Path(folder))
        seconds = time.perf_counter() - start - model.seconds
    grid = TileRun(BlankImage(shape), model, TILING.grid(BlankImage(shape).info), 1).grid
    return {
        "shape": shape,
        "tiles": len(grid),
        "model_seconds": model.seconds,
        "seconds": seconds,
        "pixels_per_second": prod(shape) / seconds,
    }
