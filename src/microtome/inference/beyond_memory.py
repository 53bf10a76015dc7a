"""Prediction of what fits into no memory: tiles to a spool on disk, blocks of it to a store.

K classes, G objects, *S the image's shape. What is held at a time is a batch of tiles, the blocks
around them, and for objects a row of 30 bytes for each that a tile holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..data.stores import ImageReadError, Source
from ..files import whole
from ..geometry import Region, Shape, extent
from .blend import blended, gaussian_weights
from .blocks import Blocks
from .decide import highest
from .joining import Objects
from .ledger import Ledger
from .predict import Progress
from .processes import predicted
from .running import Behind, Predicts, TileRun
from .spool import OBJECTS, Spool
from .stitch import Stitched
from .tiles import TileGrid
from .tiling import Tiling

SLIDING = Tiling()
UNKNOWN = 255  # the class of pixels that could not be read


class Sink(Protocol):
    """What the result is written to: integers [*S] in chunks."""

    @property
    def chunk(self) -> Shape:
        """Regions that are written are aligned to it."""
        ...

    def write(self, region: Region, values: npt.NDArray[Any]) -> None:
        """Write `values` [*region]."""
        ...

    def finish(self) -> None:
        """Called once, when everything is written."""
        ...


class Outcome(NamedTuple):
    """What came of it.

    Attributes:
        objects: class and score of each object, when the model answers with objects.
        failed: what could not be read, as `[z0:z1, y0:y1, x0:x1]`, and why.
    """

    objects: Objects | None
    failed: dict[str, str]


def predict_to(
    source: Source,
    model: Predicts,
    store: Sink,
    *,
    work: str | Path,
    tiling: Tiling = SLIDING,
    workers: int = 0,
    made_by: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Segment an image of any size into a store; a killed run goes on where it stood.

    Scores are blended to classes, objects are stitched to ids 1…G. Pixels that could not be read
    hold 255, or 0 in a store of ids.

    Args:
        source: the image, read tile by tile.
        model: anything with `predict_samples`.
        store: receives classes (uint8; int32 above 255 of them) or ids (uint32), each block once.
        work: a folder for what is needed until the end, and the ledger.
        tiling: tiles, in mode `sliding`.
        workers: processes beside this one; the result does not depend on it.
        made_by: what identifies the model, such as a checkpoint's sha256; plain data.
        progress: called with steps done and in all; a step is a tile or a block.

    Raises ValueError for impossible tiles, FileExistsError when `work` is another prediction's, and
    ImageReadError when nothing could be read.
    """
    if tiling.checked().mode != "sliding":
        raise ValueError("prediction into a store works with tiles: take the mode `sliding`")
    grid = tiling.grid(source.info)
    run = TileRun(source, model, grid, tiling.batch_size)
    ledger = Ledger(Path(work) / "ledger.jsonl", _settings(source, grid, store, made_by))
    job = _Job(run, store, Path(work), ledger, progress)
    if not ledger.finished:
        job.predict(workers)
        job.stitch()
        store.finish()
        ledger.note(finished=True)
        job.spool.clear()
    return job.outcome()


class _Job:
    def __init__(
        self, run: TileRun, store: Sink, work: Path, ledger: Ledger, progress: Progress | None
    ) -> None:
        self.run, self.grid, self.store = run, run.grid, store
        self.ledger, self.progress = ledger, progress
        self.spool = Spool(work / "tiles", run.grid)
        self.table = work / "objects.npz"
        self.blocks = Blocks(run.grid, store.chunk, ledger.blocks)
        self.weights = gaussian_weights(run.grid.tile)
        self.steps = 0

    def predict(self, workers: int) -> None:
        """Predict the tiles that are missing; write blocks of classes as soon as they can be."""
        self.spool.sweep()
        if not self.ledger.kind and self.spool.kind:
            self.ledger.note(kind=self.spool.kind)
        wanted = [n for n in range(len(self.grid)) if self._wanted(n)]
        there = {n for n in wanted if n in self.spool or n in self.ledger.failed}
        self.steps = len(self.grid) - len(wanted) + len(self.ledger.blocks)
        with Behind() as keeper:
            for tile in sorted(there):
                self._done(tile, keeper)
            missing = [n for n in wanted if n not in there]
            unsorted: list[int] = []  # before it is known what tiles hold
            for tile, kind, why in predicted(self.run, self.spool, missing, workers, keeper):
                unsorted.append(tile)
                if why:
                    self.ledger.note(failed=tile, why=why)
                elif not self.ledger.kind:
                    self.ledger.note(kind=kind)
                while self.ledger.kind and unsorted:
                    self._done(unsorted.pop(), keeper)
        if len(self.ledger.failed) == len(self.grid):
            raise ImageReadError(self.run.source.info.name, next(iter(self.ledger.failed.values())))

    def stitch(self) -> None:
        """Write blocks of ids, once all tiles are there."""
        if self.ledger.kind != OBJECTS:
            return
        stitched = Stitched(self.grid, self.spool.fragments, self.ledger.failed, self._step)
        with whole(self.table) as part:
            np.savez(part, **stitched.objects._asdict())
        with Behind() as writer:
            for block in self.blocks.left:
                ids = stitched.read(self.blocks.regions[block])
                writer.do(partial(self._write, block, ids))

    def outcome(self) -> Outcome:
        failed = {in_words(self.grid[n]): why for n, why in sorted(self.ledger.failed.items())}
        if self.ledger.kind != OBJECTS:
            return Outcome(None, failed)
        with np.load(self.table, allow_pickle=False) as held:
            return Outcome(Objects(held["labels"], held["scores"]), failed)

    def _wanted(self, tile: int) -> bool:
        return self.ledger.kind == OBJECTS or self.blocks.needed(tile)

    def _done(self, tile: int, keeper: Behind) -> None:
        keeper.do(self._step)
        if self.ledger.kind != OBJECTS:
            for block in self.blocks.after(tile):
                keeper.do(partial(self._blend, block))

    def _blend(self, block: int) -> None:
        region = self.blocks.regions[block]
        found = blended(self.grid, self.spool.scores, self.weights, region)
        if found is None:
            self._write(block, np.full(extent(region), UNKNOWN, np.uint8))
        else:
            scores, covered = found
            classes = highest(scores).masked_fill_(~covered, UNKNOWN)
            self._write(block, classes.numpy())
        for tile in self.blocks.free(block):
            self.spool.drop(tile)

    def _write(self, block: int, values: npt.NDArray[Any]) -> None:
        self.store.write(self.blocks.regions[block], values)
        self.ledger.note(block=block)
        self._step()

    def _step(self) -> None:
        self.steps += 1
        if self.progress is not None:
            again = len(self.grid) if self.ledger.kind == OBJECTS else 0  # to be compared
            self.progress(self.steps, len(self.grid) + again + len(self.blocks.regions))


def in_words(region: Region) -> str:
    """`[0:64, 32:96]`."""
    return "[" + ", ".join(f"{part.start}:{part.stop}" for part in region) + "]"


def _settings(
    source: Source, grid: TileGrid, store: Sink, made_by: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What the result depends on; neither batches nor workers are among it."""
    info = source.info
    return {
        "image": info.name,
        "shape": info.shape,
        "spacing": info.spacing,
        "tile": grid.tile,
        "starts": grid.starts,
        "chunk": store.chunk,
        "made_by": made_by or {},
    }
