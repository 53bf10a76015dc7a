"""Blocks of the output, aligned to its chunks: each is written once, when its tiles are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import product

from ..geometry import Region, Shape, round_up
from .tiles import TileGrid


class Blocks:
    """Which blocks need which tiles.

    A block is about as large as a tile; a tile is done with when all its blocks are written.

    Args:
        grid: all tiles.
        chunk: the store's, which no two blocks share.
        written: numbers of blocks that are done.
    """

    def __init__(self, grid: TileGrid, chunk: Shape, written: Collection[int] = ()) -> None:
        self.grid = grid
        self.regions = _cut(grid.shape, round_up(grid.tile, chunk))
        self.left = [n for n in range(len(self.regions)) if n not in written]
        self._tiles = {n: grid.touching(self.regions[n]) for n in self.left}
        self._missing = {n: len(tiles) for n, tiles in self._tiles.items()}
        self._uses = Counter(tile for tiles in self._tiles.values() for tile in tiles)
        self._users: dict[int, list[int]] = {}
        for block, tiles in self._tiles.items():
            for tile in tiles:
                self._users.setdefault(tile, []).append(block)

    def needed(self, tile: int) -> bool:
        """Whether a block that is left needs a tile."""
        return tile in self._users

    def after(self, tile: int) -> list[int]:
        """The blocks that have all their tiles, now that this one is there."""
        ready = []
        for block in self._users.get(tile, ()):
            self._missing[block] -= 1
            if self._missing[block] == 0:
                ready.append(block)
        return ready

    def free(self, block: int) -> list[int]:
        """The tiles that nothing needs any more, now that this block is written."""
        self._uses.subtract(self._tiles[block])
        return [tile for tile in self._tiles[block] if self._uses[tile] == 0]


def _cut(shape: Shape, block: Sequence[int]) -> list[Region]:
    """Regions without overlap, the last of an axis smaller where it has to be."""
    axes = [
        [slice(start, min(start + size, end)) for start in range(0, end, size)]
        for size, end in zip(block, shape, strict=True)
    ]
    return list(product(*axes))
