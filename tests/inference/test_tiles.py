from __future__ import annotations

import pytest
from monai.data.utils import dense_patch_slices
from monai.inferers.utils import _get_scan_interval

from microtome.inference import TileGrid

CASES = [
    ((10,), 4, 0.5),
    ((100, 77), 32, 0.25),
    ((100, 77), (33, 64), (0.5, 0.9)),
    ((64, 64), 64, 0.5),
    ((20, 50, 31), (7, 16, 31), 0.3),
    ((5, 6), 3, 0.99),
]


@pytest.mark.parametrize(("shape", "tile", "overlap"), CASES)
def test_positions_are_those_of_monai(shape, tile, overlap):
    dims = len(shape)
    tiles = (tile,) * dims if isinstance(tile, int) else tile
    overlaps = (overlap,) * dims if isinstance(overlap, float) else overlap
    step = _get_scan_interval(shape, tiles, dims, overlaps)
    assert list(TileGrid.plan(shape, tile, overlap)) == dense_patch_slices(shape, tiles, step)


def test_ten_pixels_in_tiles_of_four():
    grid = TileGrid.plan((10,), 4, 0.5)
    assert [(r.start, r.stop) for (r,) in grid] == [(0, 4), (2, 6), (4, 8), (6, 10)]
    assert [(r.start, r.stop) for (r,) in TileGrid.plan((9,), 4, 0.0)] == [(0, 4), (4, 8), (5, 9)]


def test_a_tile_larger_than_the_image_becomes_the_image():
    grid = TileGrid.plan((3, 40), 16, 0.5)
    assert grid.tile == (3, 16)
    assert len(grid) == len(list(grid)) == 4
    assert all(r[0] == slice(0, 3) for r in grid)


def test_everything_wrong_is_listed():
    with pytest.raises(ValueError, match=r"no pixels.*tile must be.*overlap must be"):
        TileGrid.plan((0, 5), -1, 1.0)
    with pytest.raises(ValueError, match="overlap must not be negative"):
        TileGrid.plan((5, 5), 3, -0.1)
    with pytest.raises(ValueError, match="expected 1 or 2 values"):
        TileGrid.plan((5, 5), (3, 3, 3), 0.5)
