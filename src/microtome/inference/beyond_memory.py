"""Prediction of what fits into no memory: tiles to a spool on disk, blocks of it to a store.

K classes, G objects, *S the image's shape. What is held at a time is a batch of tiles, the blocks
around them, and for objects a row of 30 bytes for each that a tile holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..data.stores import Source
from ..geometry import Region
from .blocks import Blocks
from .jobs import Job, Sink, Stores
from .joining import Objects
from .ledger import Ledger
from .predict import Progress
from .running import Predicts, TileRun
from .tiles import TileGrid
from .tiling import Tiling

SLIDING = Tiling()


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
    sure: Sink | None = None,
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
        sure: receives the score of each pixel's class, float32, 0 where nothing could be read;
            with the chunks of `store`.
        progress: called with steps done and in all; a step is a tile or a block.

    Raises ValueError for impossible tiles, and for objects where `sure` is given: their scores are
    in the outcome; FileExistsError when `work` is another prediction's, and
    ImageReadError when nothing could be read.
    """
    if tiling.checked().mode != "sliding":
        raise ValueError("prediction into a store works with tiles: take the mode `sliding`")
    grid = tiling.grid(source.info)
    run = TileRun(source, model, grid, tiling.batch_size)
    settings = _settings(source, grid, store, made_by)
    settings |= {} if sure is None else {"sure": True}  # a run without it has none to go on with
    ledger = Ledger(Path(work) / "ledger.jsonl", settings)
    stores = Stores(store, sure)
    job = Job(run, stores, Path(work), ledger, progress)
    if not ledger.finished:
        job.predict(workers)
        job.stitch()
        stores.finish()
        ledger.note(finished=True)
        job.spool.clear()
    failed = {in_words(grid[n]): why for n, why in sorted(ledger.failed.items())}
    return Outcome(job.objects(), failed)


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
        "block": Blocks(grid, store.chunk).size,
        "made_by": made_by or {},
    }
