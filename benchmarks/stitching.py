"""Objects of volumes put together: pixels per second, and memory that does not grow with them.

The segmenter reads the truth, so the time is that of tiles, comparison and painting; its own time
is measured beside it. `microtome.testing.known_objects` says what the objects are.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

from microtome.geometry import Shape
from microtome.inference import Tiling, predict_to
from microtome.structures import DataSample, Segmentation
from microtome.testing.known_objects import BlankImage, KnownObjects, TruthReader
from microtome.testing.labels_on_disk import LabelsOnDisk

from .harness import TINY, Case, peak_memory

CELL, CHUNK = 64, (128, 128, 128)
TILING = Tiling(tile=160, overlap=64, batch_size=1)
TIMES = "times.json"
EDGES = (160, 192) if TINY else (256, 512, 1024)
GROWTH = "Volumes one after the other, one process each; memory beyond what imports take:"


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
    model = Timed(TruthReader(KnownObjects(shape, cell=CELL)))
    work = folder / "work"
    predict_to(
        BlankImage(shape), model, store(shape, folder), work=work, tiling=tiling, workers=workers
    )
    return model


def store(shape: Shape, folder: Path) -> LabelsOnDisk:
    """Where `stitch` writes."""
    return LabelsOnDisk(folder / "labels.raw", shape, CHUNK)


def cases() -> Iterator[Case]:
    """Nothing does the same."""
    return iter(())


def growth() -> Iterator[dict[str, Any]]:
    for edge in EDGES:
        shape = (edge,) * 3
        with tempfile.TemporaryDirectory() as folder:
            peak = peak_memory(
                "from benchmarks.stitching import timed\nimport scipy.sparse.csgraph\n"
                f"work = lambda: timed({shape}, {folder!r})"
            )
            found = json.loads((Path(folder) / TIMES).read_text())
        yield {
            "case": "x".join(map(str, shape)),
            "tiles": len(TILING.grid(BlankImage(shape).info)),
            "peak, MiB": peak / 2**20,
            **found,
            "million voxels per second": prod(shape) / found["seconds"] / 1e6,
        }


def timed(shape: Shape, folder: str) -> None:
    """Stitch, and write down how long it took."""
    start = time.perf_counter()
    model = stitch(shape, Path(folder))
    found = {"seconds": time.perf_counter() - start, "of them the segmenter": model.seconds}
    (Path(folder) / TIMES).write_text(json.dumps(found))
