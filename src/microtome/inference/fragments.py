"""What one tile holds: its objects as runs, and a row for each.

N objects, D axes, *S the tile's shape.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..geometry import Region
from ..structures import Instances
from .runs import Integers, Runs
from .tiles import TileGrid

Rows = npt.NDArray[np.void]

ROW = np.dtype(
    [
        ("label", np.int32),  # class
        ("score", np.float32),
        ("area", np.int64),
        ("first", np.int64),  # its first pixel, counted through the whole image
        ("depth", np.float32),  # from its centre to the nearest border that may cut, in tiles
        ("cut", np.bool_),  # it touches such a border
        ("tile", np.int32),
        ("owner", np.int32),  # the tile in whose core its centre lies
    ]
)


class Fragments(NamedTuple):
    """The objects of one tile.

    Attributes:
        runs: the map [*S]; i + 1 is the object of `rows[i]`.
        rows: [N] of `ROW`.
    """

    runs: Runs
    rows: Rows


def fragments_of(instances: Instances, number: int, grid: TileGrid) -> Fragments:
    """Take down what was found in a tile.

    Args:
        instances: on the CPU, with masks; of overlapping ones the first layer is on top.
        number: of the tile.
        grid: all tiles.

    Raises ValueError for objects without masks or with masks of another shape.
    """
    region = grid[number]
    painted = _one_layer(instances, grid)
    runs, count = Runs.of(painted), len(instances)
    if (largest := int(runs.values.max(initial=0))) > count:
        raise ValueError(f"masks hold the number {largest}, and there are {count} objects")
    rows = np.zeros(count, ROW)
    rows["label"] = instances.labels.numpy()
    rows["score"] = 1 if instances.scores is None else instances.scores.float().numpy()
    rows["tile"] = number
    if count == 0:
        return Fragments(runs, rows)
    rows["area"] = runs.areas(count)
    rows["first"] = _first_pixels(runs, region, grid, count)
    _place(rows, runs.boxes(count), region, grid)
    return Fragments(runs, rows)


def _one_layer(instances: Instances, grid: TileGrid) -> Integers:
    masks = instances.masks
    if masks is None:
        raise ValueError("tiles of objects are put together by masks, and the model gave none")
    if tuple(masks.maps.shape[1:]) != grid.tile:
        raise ValueError(
            f"expected masks [K, {grid.tile}] for every tile, got {tuple(masks.maps.shape)}"
        )
    layers = masks.maps.numpy()
    painted = np.zeros(grid.tile, np.int32)
    for layer in layers:
        np.copyto(painted, layer, where=painted == 0, casting="same_kind")
    return painted


def _first_pixels(runs: Runs, region: Region, grid: TileGrid, count: int) -> Integers:
    """[N] each object's first pixel in the order of the whole image."""
    here = np.unravel_index(runs.first(count), grid.tile)
    there = [at + part.start for at, part in zip(here, region, strict=True)]
    return np.asarray(np.ravel_multi_index(there, grid.shape), np.int64)


def _place(rows: Rows, boxes: Integers, region: Region, grid: TileGrid) -> None:
    """Say how each object's box [N, 2D] lies in its tile."""
    low, high = np.split(boxes, 2, axis=1)
    start = np.array([part.start for part in region])
    size, shape = np.array(grid.tile), np.array(grid.shape)
    below, above = start > 0, start + size < shape  # sides beyond which the image goes on
    rows["cut"] = ((low == 0) & below).any(1) | ((high == size) & above).any(1)
    centre = (low + high) / 2
    sides = np.concatenate(
        [
            np.where(below, centre / size, np.inf),
            np.where(above, (size - centre) / size, np.inf),
        ],
        axis=1,
    )
    rows["depth"] = sides.min(1)
    rows["owner"] = [grid.owner(point) for point in centre + start]
