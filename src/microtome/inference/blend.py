"""Overlapping tiles to one result: a Gaussian-weighted mean of scores, in a moving band of rows.

K classes, *S the image's shape. Weights and positions are those of MONAI's sliding window
(Cardoso et al., 2022), where the idea comes from nnU-Net (Isensee et al., 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce

import torch
from torch import Tensor

from ..geometry import Region, Shape, extent
from .decide import highest
from .tiles import TileGrid, shared, within

Decide = Callable[[Tensor], Tensor]  # scores [K, *S] to what the sink receives, e.g. classes [*S]
Sink = Callable[[Region, Tensor], None]

SIGMA = 0.125  # of a tile's size
FLOOR = 1e-3  # no pixel of a tile weighs less, so corners that one tile covers keep their precision


def blended(
    grid: TileGrid, scores: Callable[[int], Tensor | None], weights: Tensor, region: Region
) -> tuple[Tensor, Tensor] | None:
    """Blend one region, bit by bit as `BlendScores` does.

    Args:
        grid: all tiles.
        scores: [K, *tile] of a tile, by its number; None where it could not be read.
        weights: [*tile] of every tile.
        region: what to blend.

    Returns scores [K, *region] and [*region] whether any tile gave some; None when none did.
    """
    sums, total = None, torch.zeros(extent(region))
    for number in grid.touching(region):
        found = scores(number)
        if found is None:
            continue
        if sums is None:
            sums = torch.zeros(len(found), *total.shape)
        both = shared(grid[number], region)
        there, here = within(both, grid[number]), within(both, region)
        sums[(slice(None), *here)].addcmul_(found[(slice(None), *there)], weights[there])
        total[here] += weights[there]
    if sums is None:
        return None
    covered = total > 0
    return sums.div_(total.masked_fill_(~covered, 1)), covered


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
        shape: *S of the image.
        tile: the shape of every tile.
        sink: receives each region of whole rows, in order and without gaps, and what was decided.
        decide: what to make of blended scores [K, rows, ...].
    """

    def __init__(self, shape: Shape, tile: Shape, sink: Sink, decide: Decide = highest) -> None:
        self.shape, self.tile, self.sink, self.decide = shape, tile, sink, decide
        self.weights = gaussian_weights(tile)
        self.total = torch.zeros(tile[0], *shape[1:])
        self.sums: Tensor | None = None
        self.flushed = 0

    def add(self, region: Region, scores: Tensor) -> None:
        """Add the scores [K, *tile] of the tile at `region`; tiles come with growing first rows.

        Raises ValueError for scores of another shape than the tile, and for tiles out of order.
        """
        if tuple(scores.shape[1:]) != extent(region) or extent(region) != self.tile:
            raise ValueError(
                f"expected scores [K, {self.tile}] for every tile, "
                f"got {tuple(scores.shape)} for one of {extent(region)}"
            )
        first = region[0].start
        if first < self.flushed:
            raise ValueError(f"a tile starts at row {first}, after row {self.flushed} was decided")
        if self.sums is None:
            self.sums = torch.zeros(len(scores), *self.total.shape)
        self._flush(first)
        for here, there in self._pieces(first, first + self.tile[0]):
            self.sums[(slice(None), here, *region[1:])].addcmul_(
                scores[:, there], self.weights[there]
            )
            self.total[(here, *region[1:])] += self.weights[there]

    def finish(self) -> None:
        """Decide the remaining rows."""
        self._flush(self.shape[0])

    def _flush(self, until: int) -> None:
        """Decide rows up to `until` and clear their place in the ring."""
        start, rest = self.flushed, self.shape[1:]
        for here, there in self._pieces(start, until):
            sums, total = self.sums, self.total[here]
            if sums is None or not total.all():
                raise ValueError(f"rows {start} to {until} are not covered by the tiles")
            rows = slice(start + there.start, start + there.stop)
            decided = self.decide(sums[:, here].div_(total))
            self.sink((rows, *(slice(0, size) for size in rest)), decided)
            sums[:, here] = 0
            total.zero_()
        self.flushed = until

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[slice, slice]]:
        """Where rows `start:stop` lie in the ring, and the same rows counted from `start`."""
        at = start
        while at < stop:
            place = at % self.tile[0]
            count = min(stop - at, self.tile[0] - place)
            yield slice(place, place + count), slice(at - start, at - start + count)
            at += count
