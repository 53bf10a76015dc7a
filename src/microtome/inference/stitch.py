"""Objects of tiles to objects of the image, painted region by region.

Memory is a row per object and tile, never a map of the image; `joining` says how it is decided.

N objects of all tiles, G of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..geometry import Region, extent
from .evidence import PAIR, Pairs, compare, earlier_neighbours, pairs_of
from .fragments import ROW, Fragments, Rows
from .joining import Objects, join
from .runs import Integers
from .tiles import TileGrid, within

Found = Callable[[int], Fragments | None]  # of a tile; None where it could not be read
Told = Callable[[], None]


class Decided(NamedTuple):
    """What becomes of the objects of all tiles, one tile's after the other's; plain arrays.

    Attributes:
        ids: [N] int64, the id it is painted as; 0 for none.
        cut: [N] bool, whether a border of its tile cuts it.
        offsets: where each tile's objects begin, and where the last one's end.
        labels: [G] class of the object with the id i + 1.
        scores: [G] float32.
    """

    ids: Integers
    cut: npt.NDArray[np.bool_]
    offsets: Integers
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    @property
    def objects(self) -> Objects:
        """A row per object; the i-th has the id i + 1."""
        return Objects(self.labels, self.scores)


def decided(
    grid: TileGrid, found: Found, failed: Collection[int] = (), told: Told | None = None
) -> Decided:
    """Compare tiles and decide what is an object.

    Args:
        grid: all tiles.
        found: what a tile holds.
        failed: numbers of tiles that could not be read.
        told: called after each tile that was compared with its neighbours.
    """
    rows, offsets, pairs = _tables(grid, found, told)
    joined = join(rows, pairs, np.array(sorted(failed), np.int64))
    return Decided(joined.ids, rows["cut"].copy(), offsets, *joined.objects)


class Stitched(NamedTuple):
    """The objects of an image, from those of its tiles.

    Attributes:
        grid: all tiles.
        found: what a tile holds.
        decided: what becomes of it.
    """

    grid: TileGrid
    found: Found
    decided: Decided

    def read(self, region: Region) -> npt.NDArray[np.uint32]:
        """[*region] ids; whole objects lie above joined ones, then tiles of smaller numbers."""
        painted = np.zeros(extent(region), np.uint32)
        touching = self.grid.touching(region)[::-1]
        there = [(n, f) for n in touching if (f := self.found(n)) is not None]
        for cut in (True, False):
            for number, fragments in there:
                table = self._table(number, cut)
                if table.any():
                    runs = fragments.runs.seen(within(region, self.grid[number]))
                    runs.paint(painted, table)
        return painted

    def _table(self, number: int, cut: bool) -> npt.NDArray[np.uint32]:
        """What each label of a tile is painted as; 0 for what is not painted now."""
        rows = slice(self.decided.offsets[number], self.decided.offsets[number + 1])
        ids = np.where(self.decided.cut[rows] == cut, self.decided.ids[rows], 0)
        return np.concatenate([[0], ids]).astype(np.uint32)


def _tables(grid: TileGrid, found: Found, told: Told | None) -> tuple[Rows, Integers, Pairs]:
    """The objects of all tiles, where each tile's begin, and what neighbours say of each other."""
    rows, pairs, offsets = [np.zeros(0, ROW)], [np.zeros(0, PAIR)], [0]
    for number in range(len(grid)):
        here = found(number)
        if here is not None and len(here.rows):
            rows.append(here.rows)
            for other in earlier_neighbours(grid, number):
                there = found(other)
                if there is not None:
                    columns = compare(grid, (other, number), (there, here))
                    pairs.append(pairs_of(columns, (offsets[other], offsets[number])))
        offsets.append(offsets[-1] + (0 if here is None else len(here.rows)))
        if told is not None:
            told()
    return np.concatenate(rows), np.array(offsets), np.concatenate(pairs)
