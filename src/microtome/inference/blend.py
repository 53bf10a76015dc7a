"""Overlapping tiles to one result: a Gaussian-weighted mean of scores, in a moving window.

K classes, *S the image's shape. Weights and positions are those of MONAI's sliding window
(Cardoso et al., 2022), where the idea comes from nnU-Net (Isensee et al., 2021).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor

from ..geometry import Region, Shape, window
from .decide import highest
from .tiles import TileGrid, shared, within

Sink = Callable[[Region, Tensor], None]

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
        for start in starts[
            bisect_right(starts, part.start - size) : bisect_left(starts, part.stop)
        ]:
            first, last = max(start, part.start), min(start + size, part.stop)
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
    """Adds tiles up; pixels that no later tile can reach are decided at once.

    A window of a tile's size moves along the last axis. Of what leaves it, the part that later
    lines of tiles overlap waits in the band of that axis, and comes back into the window. Memory
    is K * (a tile, and the overlap of two lines of tiles), whatever the height of the image.

    Args:
        grid: all tiles.
        sink: receives regions that cover the image, each pixel once, and their classes.
    """

    def __init__(self, grid: TileGrid, sink: Sink) -> None:
        self.grid, self.sink = grid, sink
        self.weights = gaussian_weights(grid.tile)
        self.added = 0
        self._window = torch.zeros(0)
        self._bands: list[Tensor] = []  # per axis but the last: tiles before it, the image after

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
        if not self.added:
            self._begin(len(scores))
        steps = list(map(_steps, self.grid.starts, self.grid.tile, self.grid.place(number)))
        self._enter([step[0] for step in steps], self.grid[number])
        self._window.addcmul_(scores, self.weights)
        self._leave([step[1] for step in steps], self.grid[number])
        self.added += 1

    def finish(self) -> None:
        """Raise ValueError when tiles are missing."""
        if self.added < len(self.grid):
            raise ValueError(f"{self.added} of {len(self.grid)} tiles were blended")

    def _begin(self, classes: int) -> None:
        tile, shape = self.grid.tile, self.grid.shape
        self._window = torch.empty(classes, *tile)
        for axis, starts in enumerate(self.grid.starts[:-1]):
            most = max((tile[axis] - (b - a) for a, b in pairwise(starts)), default=0)
            band = (*tile[:axis], max(0, most), *shape[axis + 1 :])
            self._bands.append(torch.empty(classes, *band))

    def _enter(self, known: list[int], region: Region) -> None:
        """Move the window: what earlier tiles gave here is kept or comes back, the rest is 0."""
        sums, size = self._window, self.grid.tile[-1]
        if known[-1]:
            kept = sums[..., size - known[-1] :]
            sums[..., : known[-1]] = kept.clone() if 2 * known[-1] > size else kept
        new = list(map(slice, self.grid.tile))
        new[-1] = slice(known[-1], size)
        for axis in reversed(range(len(self._bands))):
            back = [*new[:axis], slice(0, known[axis]), *new[axis + 1 :]]
            sums[(slice(None), *back)] = self._bands[axis][self._waiting(axis, back, region)]
            new[axis] = slice(known[axis], self.grid.tile[axis])
        sums[(slice(None), *new)] = 0

    def _leave(self, final: list[int], region: Region) -> None:
        """Decide what no later tile reaches; keep what leaves the window before that."""
        left = list(map(slice, self.grid.tile))
        left[-1] = slice(0, final[-1])
        for axis in reversed(range(len(self._bands))):
            tile = self.grid.tile[axis]
            open_ = [*left[:axis], slice(final[axis], tile), *left[axis + 1 :]]
            there = [*left[:axis], slice(0, tile - final[axis]), *left[axis + 1 :]]
            place = self._waiting(axis, there, region)
            self._bands[axis][place] = self._window[(slice(None), *open_)]
            left[axis] = slice(0, final[axis])
        decided = tuple(
            slice(part.start, part.start + end) for part, end in zip(region, final, strict=True)
        )
        sums = self._window[(slice(None), *left)]
        total = weight_sums(self.grid, self.weights, decided)
        self.sink(decided, highest(sums.div_(total)))

    def _waiting(self, axis: int, part: list[slice], region: Region) -> tuple[slice, ...]:
        """Where a part of the window lies in the band of an axis."""
        after = zip(part[axis + 1 :], region[axis + 1 :], strict=True)
        moved = (slice(p.start + r.start, p.stop + r.start) for p, r in after)
        return (slice(None), *part[: axis + 1], *moved)


def _steps(starts: Sequence[int], size: int, place: int) -> tuple[int, int]:
    """Pixels that a tile shares with the one before it, and those before the next one."""
    start = starts[place]
    known = max(0, starts[place - 1] + size - start) if place else 0
    final = min(size, starts[place + 1] - start) if place + 1 < len(starts) else size
    return known, final
