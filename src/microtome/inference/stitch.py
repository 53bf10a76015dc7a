"""Objects of tiles to objects of the image, painted region by region.

Memory is a row per object and tile, never a map of the image; `joining` says how it is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt

from ..geometry import Region, extent
from .evidence import PAIR, compare, earlier_neighbours, pairs_of
from .fragments import ROW, Fragments
from .joining import Objects, join
from .tiles import TileGrid, shared, within

Found = Callable[[int], Fragments | None]  # of a tile; None where it could not be read
Told = Callable[[], None]


class Stitched:
    """The objects of an image, from those of its tiles.

    Args:
        grid: all tiles.
        found: what a tile holds.
        failed: numbers of tiles that could not be read.
        told: called after each tile that was compared with its neighbours.

    Attributes:
        objects: a row per object; the i-th has the id i + 1.
    """

    def __init__(
        self, grid: TileGrid, found: Found, failed: Collection[int] = (), told: Told | None = None
    ) -> None:
        self.grid, self.found = grid, found
        tables = [_rows(found(number)) for number in range(len(grid))]
        self.offsets = np.cumsum([0, *map(len, tables)])
        rows = np.concatenate(tables)
        del tables
        pairs = self._pairs(told)
        joined = join(rows, pairs, np.array(sorted(failed), np.int64))
        self.objects: Objects = joined.objects
        self.ids, self.cut = joined.ids, rows["cut"].copy()

    def read(self, region: Region) -> npt.NDArray[np.uint32]:
        """[*region] ids; whole objects lie above joined ones, then tiles of smaller numbers."""
        painted = np.zeros(extent(region), np.uint32)
        touching = [(n, f) for n in self.grid.touching(region) if (f := self.found(n)) is not None]
        for cut in (False, True):
            for number, fragments in touching:
                table = self._table(number, cut)
                if table.any():
                    tile = self.grid[number]
                    both = shared(tile, region)
                    target = painted[within(both, region)]
                    new = fragments.runs.read(within(both, tile), table)
                    np.copyto(target, new, where=target == 0)
        return painted

    def _table(self, number: int, cut: bool) -> npt.NDArray[np.uint32]:
        """What each label of a tile is painted as; 0 for what is not painted now."""
        rows = slice(self.offsets[number], self.offsets[number + 1])
        ids = np.where(self.cut[rows] == cut, self.ids[rows], 0)
        return np.concatenate([[0], ids]).astype(np.uint32)

    def _pairs(self, told: Told | None) -> npt.NDArray[np.void]:
        tables = [np.zeros(0, PAIR)]
        for number in range(len(self.grid)):
            here = self.found(number)
            for other in earlier_neighbours(self.grid, number):
                there = self.found(other)
                if here is None or there is None or not (len(here.rows) and len(there.rows)):
                    continue
                columns = compare(self.grid, (other, number), (there, here))
                tables.append(pairs_of(columns, (self.offsets[other], self.offsets[number])))
            if told is not None:
                told()
        return np.concatenate(tables)


def _rows(fragments: Fragments | None) -> npt.NDArray[np.void]:
    return np.zeros(0, ROW) if fragments is None else fragments.rows
