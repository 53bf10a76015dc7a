"""Tiles cover every pixel once, ragged at the far ends."""

from __future__ import annotations

import numpy as np
import pytest

from microtome.data.databases import tile_table


@pytest.mark.parametrize(
    ("shape", "tile"),
    [((7, 9), (3, 4)), ((5, 7, 9), (5, 3, 4)), ((2, 5, 7, 9), (1, 2, 8, 9)), ((4,), (9,))],
)
def test_every_pixel_belongs_to_one_tile(shape, tile):
    count = np.zeros(shape, int)
    for start, stop in tile_table(shape, tile):
        assert (stop - start >= 1).all()
        assert (stop - start <= tile).all()
        count[tuple(map(slice, start, stop))] += 1
    assert (count == 1).all()


def test_the_last_tile_is_shorter():
    tiles = tile_table((5, 7), (4, 4)).tolist()
    assert tiles == [[[0, 0], [4, 4]], [[0, 4], [4, 7]], [[4, 0], [5, 4]], [[4, 4], [5, 7]]]


@pytest.mark.parametrize(("shape", "tile"), [((4, 4), (2,)), ((4, 0), (2, 2)), ((4, 4), (0, 2))])
def test_impossible_tiles_are_refused(shape, tile):
    with pytest.raises(ValueError, match="expected a tile size >= 1 for each"):
        tile_table(shape, tile)
