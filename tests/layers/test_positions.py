"""Positions on grids."""

import pytest
import torch
from timm.layers import build_sincos2d_pos_embed

from microtome.layers import centres, sincos_positions


def test_centres_are_in_array_order():
    assert centres((2, 1)).tolist() == [[0.25, 0.5], [0.75, 0.5]]
    z, y, x = centres((2, 4, 5)).view(2, 4, 5, 3)[1, 2, 3]
    assert (z, y, x) == pytest.approx((0.75, 0.625, 0.7))


def test_in_two_dimensions_they_are_timms():
    ours = sincos_positions((3, 5), 32)
    theirs = build_sincos2d_pos_embed([3, 5], dim=32)  # sines of y and x, then cosines of both
    torch.testing.assert_close(ours, theirs.view(15, 2, 2, 8).transpose(1, 2).flatten(1))


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)])
def test_every_cell_has_its_own(shape):
    positions = sincos_positions(shape, 32)
    assert positions.shape == (torch.Size(shape).numel(), 32)
    assert len(positions.unique(dim=0)) == len(positions)


def test_what_the_axes_leave_is_zero():
    positions = sincos_positions((2, 2, 2), 32)  # 5 frequencies, sine and cosine, 3 axes
    assert positions[:, 30:].eq(0).all() and positions[:, 29].ne(0).all()


def test_a_larger_grid_begins_like_a_smaller_one():
    small, large = sincos_positions((2, 3), 16), sincos_positions((4, 6), 16)
    torch.testing.assert_close(large.view(4, 6, 16)[:2, :3].flatten(0, 1), small)
