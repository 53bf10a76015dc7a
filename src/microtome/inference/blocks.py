"""Blocks of the output, aligned to its chunks: each is written once, when its tiles are there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import product
from math import prod

import numpy as np

from ..geometry import Region, Shape
from .tiles import TileGrid


class Blocks:
    """Which blocks need which tiles.

    A block is as many chunks as go into a tile, or one; a tile is done with when all its blocks are
    written. Memory is that of the blocks between the first and the last tile that wait.

    Args:
        grid: all tiles.
        chunk: the store's, which no two blocks share.
        written: numbers of blocks that are done, which is not changed here.

    Attributes:
        size: of a block, but of the last ones of an axis.
    """

    def __init__(self, grid: TileGrid, chunk: Shape, written: Collection[int] = ()) -> None:
        self.grid, self._written = grid, frozenset(written)
        self.size: Shape = tuple(
            max(1, tile // step) * step for tile, step in zip(grid.tile, chunk, strict=True)
        )
        self._counts = tuple(-(-s // b) for s, b in zip(grid.shape, self.size, strict=True))
        self._missing: dict[int, int] = {}  # tiles, of blocks that have some
        self._uses: dict[int, int] = {}  # blocks, of tiles of which some are written

    def __len__(self) -> int:
        return prod(self._counts)

    def __getitem__(self, number: int) -> Region:
        places = np.unravel_index(number, self._counts)
        return tuple(
            slice(int(p) * b, min((int(p) + 1) * b, s))
            for p, b, s in zip(places, self.size, self.grid.shape, strict=True)
        )

    def left(self) -> Iterator[int]:
        """The blocks that are not written, rising."""
        return (block for block in range(len(self)) if block not in self._written)

    def needed(self, tile: int) -> bool:
        """Whether a block that is left needs a tile."""
        return bool(self._users(tile))

    def after(self, tile: int) -> list[int]:
        """The blocks that have all their tiles, now that this one is there."""
        ready = []
        for block in self._users(tile):
            missing = self._missing.pop(block, None) or len(self._tiles(block))
            if missing == 1:
                ready.append(block)
            else:
                self._missing[block] = missing - 1
        return ready

    def free(self, block: int) -> list[int]:
        """The tiles that nothing needs any more, now that this block is written."""
        unused = []
        for tile in self._tiles(block):
            uses = self._uses.pop(tile, None) or len(self._users(tile))
            if uses == 1:
                unused.append(tile)
            else:
                self._uses[tile] = uses - 1
        return unused

    def _tiles(self, block: int) -> list[int]:
        return self.grid.touching(self[block])

    def _users(self, tile: int) -> list[int]:
        """The blocks that are left and share a pixel with a tile, rising."""
        spans = (
            range(part.start // size, (part.stop - 1) // size + 1)
            for part, size in zip(self.grid[tile], self.size, strict=True)
        )
        numbers = (int(np.ravel_multi_index(place, self._counts)) for place in product(*spans))
        return [number for number in numbers if number not in self._written]
