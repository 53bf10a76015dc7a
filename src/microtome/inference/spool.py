"""What tiles wait in until their neighbours are there: a folder, a file per tile.

A file is whole or absent, so a tile that has one is done.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..files import sweep, whole
from ..structures import Segmentation
from .fragments import Fragments, fragments_of
from .runs import Integers, Runs
from .tiles import TileGrid

OBJECTS, SCORES = "objects", "scores"  # what tiles may hold


def kind_of(result: Segmentation) -> str:
    """What of a result is put together: its objects if it has any, even none of them."""
    return SCORES if result.instances is None else OBJECTS


class Spool:
    """Results of tiles on disk; it can be pickled and used by several processes.

    Args:
        folder: made if it is not there.
        grid: all tiles.
    """

    def __init__(self, folder: Path, grid: TileGrid) -> None:
        self.folder, self.grid = folder, grid
        folder.mkdir(parents=True, exist_ok=True)

    def __contains__(self, number: int) -> bool:
        return any(self._file(number, kind).is_file() for kind in (OBJECTS, SCORES))

    def put(self, number: int, result: Segmentation) -> None:
        """Keep a result's objects, or its scores where it has none."""
        if result.instances is not None:
            fragments = fragments_of(result.instances, number, self.grid)
            values, starts, lengths, _ = fragments.runs
            with whole(self._file(number, OBJECTS)) as part:
                np.savez(
                    part,
                    rows=fragments.rows,
                    values=_small(values),
                    starts=starts.astype(np.uint32),  # no tile has more pixels
                    lengths=_small(lengths),
                )
            return
        assert result.scores is not None
        if tuple(result.scores.shape[1:]) != self.grid.tile:
            raise ValueError(
                f"expected scores [K, {self.grid.tile}] for every tile, "
                f"got {tuple(result.scores.shape)}"
            )
        with whole(self._file(number, SCORES)) as part:
            np.save(part, result.scores.numpy())

    def fragments(self, number: int) -> Fragments | None:
        """The objects of a tile; None where there is no file."""
        file = self._file(number, OBJECTS)
        if not file.is_file():
            return None
        with np.load(file, allow_pickle=False) as held:
            starts, lengths = held["starts"].astype(np.int64), held["lengths"].astype(np.int64)
            runs = Runs(held["values"].astype(np.int32), starts, lengths, self.grid.tile)
            return Fragments(runs, held["rows"])

    def scores(self, number: int) -> Tensor | None:
        """[K, *tile] of a tile, read as it is used; None where there is no file."""
        file = self._file(number, SCORES)
        if not file.is_file():
            return None
        return torch.from_numpy(np.load(file, mmap_mode="c", allow_pickle=False))

    @property
    def kind(self) -> str:
        """What the tiles hold; empty when there is none."""
        suffixes = {file.suffix for file in self.folder.glob("[0-9]*.np?")}
        return OBJECTS if ".npz" in suffixes else SCORES if ".npy" in suffixes else ""

    def drop(self, number: int) -> None:
        """Forget the scores of a tile."""
        self._file(number, SCORES).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what killed processes left half written."""
        sweep(self.folder)

    def clear(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder)

    def _file(self, number: int, kind: str) -> Path:
        return self.folder / f"{number:08d}.{'npz' if kind == OBJECTS else 'npy'}"


def _small(values: Integers) -> Integers:
    return values.astype(np.uint16 if values.max(initial=0) < 2**16 else np.int32)
