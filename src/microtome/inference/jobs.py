"""The work of a prediction into a store: tiles to a spool on disk, blocks of it to the store."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..data.stores import ImageReadError
from ..files import sweep, whole
from ..geometry import Region, Shape, extent
from .blend import blended, gaussian_weights
from .blocks import Blocks
from .decide import highest_of
from .joining import Objects
from .ledger import Ledger
from .predict import Progress
from .processes import predicted
from .running import Behind, TileRun
from .spool import OBJECTS, Spool
from .stitch import Decided, Stitched, decided

UNKNOWN = 255  # the class of pixels that could not be read


class Sink(Protocol):
    """What a result is written to: [*S] in chunks."""

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


class Stores(NamedTuple):
    """Where blocks go.

    Attributes:
        result: classes, or ids of objects.
        sure: the score of each pixel's class; None where nobody asks.
    """

    result: Sink
    sure: Sink | None = None

    def finish(self) -> None:
        """Everything is written."""
        for store in self:
            if store is not None:
                store.finish()


class Job:
    """A prediction that may have begun before.

    Args:
        run: the model on the tiles of a source.
        stores: receive blocks.
        work: the folder of spool and table.
        ledger: what is done.
        progress: called with steps done and in all.
    """

    def __init__(
        self, run: TileRun, stores: Stores, work: Path, ledger: Ledger, progress: Progress | None
    ) -> None:
        self.run, self.grid, self.stores = run, run.grid, stores
        self.ledger, self.progress = ledger, progress
        self.spool = Spool(work / "tiles", run.grid)
        self.table = work / "objects.npz"
        self.blocks = Blocks(run.grid, stores.result.chunk, ledger.blocks)
        self.weights = gaussian_weights(run.grid.tile)
        self.steps = 0

    def predict(self, workers: int) -> None:
        """Predict the tiles that are missing; write blocks of classes as soon as they can be."""
        self.spool.sweep()
        sweep(self.table.parent)
        if not self.ledger.kind and self.spool.kind:
            self._know(self.spool.kind)
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
                    self._know(kind)
                while self.ledger.kind and unsorted:
                    self._done(unsorted.pop(), keeper)
        if len(self.ledger.failed) == len(self.grid):
            raise ImageReadError(self.run.source.info.name, next(iter(self.ledger.failed.values())))

    def stitch(self) -> None:
        """Write blocks of ids, once all tiles are there."""
        if self.ledger.kind != OBJECTS:
            return
        stitched = Stitched(self.grid, self.spool.fragments, self._decided())
        with Behind() as writer:
            for block in self.blocks.left():
                ids = stitched.read(self.blocks[block])
                writer.do(partial(self._write, block, ids))

    def objects(self) -> Objects | None:
        """Class and score of each, once they are stitched."""
        return self._table().objects if self.ledger.kind == OBJECTS else None

    def _know(self, kind: str) -> None:
        """Raises ValueError at the first tile, not after the last."""
        if kind == OBJECTS and self.stores.sure is not None:
            raise ValueError("the scores of objects stand in their table, not at pixels of a store")
        self.ledger.note(kind=kind)

    def _decided(self) -> Decided:
        """Decide once: a run that is killed after it goes on with painting."""
        if self.table.is_file():
            self.steps += len(self.grid)
            return self._table()
        found = decided(self.grid, self.spool.fragments, self.ledger.failed, self._step)
        with whole(self.table) as part:
            np.savez(part, **found._asdict())
        return found

    def _table(self) -> Decided:
        with np.load(self.table, allow_pickle=False) as held:
            return Decided(**held)

    def _wanted(self, tile: int) -> bool:
        return self.ledger.kind == OBJECTS or self.blocks.needed(tile)

    def _done(self, tile: int, keeper: Behind) -> None:
        keeper.do(self._step)
        if self.ledger.kind != OBJECTS:
            for block in self.blocks.after(tile):
                keeper.do(partial(self._blend, block))

    def _blend(self, block: int) -> None:
        region = self.blocks[block]
        found = blended(self.grid, self.spool.scores, self.weights, region)
        classes: npt.NDArray[Any] = np.full(extent(region), UNKNOWN, np.uint8)
        sure: npt.NDArray[Any] = np.zeros(extent(region), np.float32)
        if found is not None:
            scores, covered = found
            chosen = highest_of(scores, len(scores))
            classes = chosen.classes.masked_fill_(~covered, UNKNOWN).numpy()
            sure = chosen.scores.masked_fill_(~covered, 0).numpy()
        if self.stores.sure is not None:
            self.stores.sure.write(region, sure)
        self._write(block, classes)
        for tile in self.blocks.free(block):
            self.spool.drop(tile)

    def _write(self, block: int, values: npt.NDArray[Any]) -> None:
        self.stores.result.write(self.blocks[block], values)
        self.ledger.note(block=block)
        self._step()

    def _step(self) -> None:
        self.steps += 1
        if self.progress is not None:
            again = len(self.grid) if self.ledger.kind == OBJECTS else 0  # to be compared
            self.progress(self.steps, len(self.grid) + again + len(self.blocks))
