"""Overlapping tiles to one result: a Gaussian-weighted mean of scores, in a moving band of rows.

K classes, *S the image's shape. Weights and positions are those of MONAI's sliding window
(Cardoso et al., 2022), where the idea comes from nnU-Net (Isensee et al., 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce

import torch
from torch import Tensor

from ..geometry import Region, Shape, window
from .decide import highest_of
from .tiles import TileGrid, shared, within

Sink = Callable[[Region, Tensor, Tensor], None]

SIGMA = 0.125  # of a tile's size
FLOOR = 1e-3  # no pixel of a tile weighs less, so corners that one tile covers keep their precision


def blended(
    grid: TileGrid, scores: Callable[[int], Tensor | None], weights: Tensor, region: Region
) -> tuple[Tensor, Tensor] | None:
    """Blend one region, bit by bit as `BlendScores` does where no tile is missing.

    Args:
        grid: all tiles.
        scores: [K, *tile] of a tile, by its number; None where it could not be read.
        weights: [*tile] of every tile.
        region: what to blend.

    Returns scores [K, *region] and [*region] whether any tile gave some; None when none did.
    """
    sums, total = None, weight_sums(grid, weights, region)
    for number in grid.touching(region):
        both = shared(grid[number], region)
        there, here = within(both, grid[number]), within(both, region)
        found = scores(number)
        if found is None:
            total[here] -= weights[there]
            continue
        if sums is None:
            sums = torch.zeros(len(found), *total.shape)
        sums[(slice(None), *here)].addcmul_(found[(slice(None), *there)], weights[there])
    if sums is None:
        return None
    covered = total > FLOOR / 2  # what is left of a missing tile's weight is rounding
    return sums.div_(total.masked_fill_(~covered, 1)), covered


class BlendWhole:
    """Adds tiles up to the scores of the whole image, bit by bit as `BlendScores` does."""

    def __init__(self, grid: TileGrid) -> None:
        self.grid, self.weights = grid, gaussian_weights(grid.tile)
        self.sums: Tensor | None = None

    def add(self, number: int, scores: Tensor) -> None:
        """Add a tile's scores [K, *tile]."""
        if self.sums is None:
            self.sums = torch.zeros(len(scores), *self.grid.shape)
        self.sums[(slice(None), *self.grid[number])].addcmul_(scores, self.weights)

    def finish(self) -> Tensor:
        """Return the blended scores [K, *S]; all tiles must be there."""
        assert self.sums is not None
        return self.sums.div_(weight_sums(self.grid, self.weights, window(self.grid.shape)))


def weight_sums(grid: TileGrid, weights: Tensor, region: Region) -> Tensor:
    """[*region]: what the `weights` [*tile] of all tiles come to, summed axis after axis."""
    total = weights
    for axis, (starts, size, part) in enumerate(zip(grid.starts, grid.tile, region, strict=True)):
        shape = list(total.shape)
        shape[axis] = part.stop - part.start
        wider = total.new_zeros(shape)
        for start in starts:
            first, last = max(start, part.start), min(start + size, part.stop)
            if first < last:
                here = wider.narrow(axis, first - part.start, last - first)
                here += total.narrow(axis, first - start, last - first)
        total = wider
    return total


def gaussian_weights(tile: Shape) -> Tensor:
    """[*tile] float32: how much each pixel of a tile counts, 1 at the centre, at least 0.001."""
    axes = [_bell(size).view(-1, *[1] * (len(tile) - 1 - i)) for i, size in enumerate(tile)]
    weights = reduce(torch.mul, axes)
    return weights.clamp(min=max(float(weights.min()), FLOOR))


def _bell(size: int) -> Tensor:
    distance = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    return torch.exp(-(distance**2) / (2 * (SIGMA * size) ** 2))


class BlendScores:
    """Adds tiles up; rows (along the first axis) that no later tile can reach are decided at once.

    Memory is K * tile height * the other axes, whatever the height of the image: the band is a
    ring, row r of the image lives at r modulo the tile's height.

    Args:
        grid: all tiles.
        sink: receives each region of whole rows, in order and without gaps, its classes, and their
            scores.
    """

    def __init__(self, grid: TileGrid, sink: Sink) -> None:
        self.grid, self.sink = grid, sink
        self.weights = gaussian_weights(grid.tile)
        self.sums: Tensor | None = None
        self.added = self.flushed = 0

    def add(self, number: int, scores: Tensor) -> None:
        """Add the scores [K, *tile] of a tile; all tiles come, in the order of their numbers.

        Raises ValueError for scores of another shape than the tile, and for tiles out of order.
        """
        if tuple(scores.shape[1:]) != self.grid.tile:
            raise ValueError(
                f"expected scores [K, {self.grid.tile}] for every tile, got {tuple(scores.shape)}"
            )
        if number != self.added:
            raise ValueError(f"tile {self.added} is next to be blended, got {number}")
        region, height = self.grid[number], self.grid.tile[0]
        if self.sums is None:
            self.sums = torch.zeros(len(scores), height, *self.grid.shape[1:])
        first = region[0].start
        self._flush(first)
        for here, there in self._pieces(first, first + height):
            self.sums[(slice(None), here, *region[1:])].addcmul_(
                scores[:, there], self.weights[there]
            )
        self.added += 1

    def finish(self) -> None:
        """Decide the remaining rows. Raises ValueError when tiles are missing."""
        if self.added < len(self.grid):
            raise ValueError(f"{self.added} of {len(self.grid)} tiles were blended")
        self._flush(self.grid.shape[0])

    def _flush(self, until: int) -> None:
        """Decide rows up to `until` and clear their place in the ring."""
        start, sums = self.flushed, self.sums
        assert sums is not None
        for here, there in self._pieces(start, until):
            rows = slice(start + there.start, start + there.stop)
            region = (rows, *window(self.grid.shape[1:]))
            total = weight_sums(self.grid, self.weights, region)
            band = sums[:, here].div_(total)
            self.sink(region, *highest_of(band, len(band)))
            sums[:, here] = 0
        self.flushed = until

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[slice, slice]]:
        """Where rows `start:stop` lie in the ring, and the same rows counted from `start`."""
        at, height = start, self.grid.tile[0]
        while at < stop:
            place = at % height
            count = min(stop - at, height - place)
            yield slice(place, place + count), slice(at - start, at - start + count)
            at += count
