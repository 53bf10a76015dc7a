"""Array order, scalars and tuples, and the one place where axes flip."""

import subprocess
import sys

import pytest

from microtome.geometry import (
    boxes_from_xywh,
    boxes_to_xywh,
    extent,
    per_axis,
    proposed_strides,
    round_up,
    window,
)


@pytest.mark.parametrize(
    "value, dims, expected",
    [(4, 2, (4, 4)), (0.5, 3, (0.5,) * 3), ([1, 2, 3], 3, (1, 2, 3)), ((2.0,), 1, (2.0,))],
)
def test_scalars_become_tuples(value, dims, expected):
    assert per_axis(value, dims) == expected


def test_another_length_is_an_error():
    with pytest.raises(ValueError, match=r"expected 1 or 3 values, got 2: \(1, 2\)"):
        per_axis([1, 2], 3)


def test_sizes_are_rounded_up_to_multiples():
    assert round_up((1, 16, 17), (16, 16, 16)) == (16, 16, 32)
    assert round_up((10, 33), (2, 14)) == (10, 42)


def test_a_window_is_as_large_as_its_shape():
    assert extent(window((3, 4, 5))) == (3, 4, 5)
    assert extent((slice(2, 5), slice(1, 1))) == (3, 0)


def test_boxes_flip_axes_once():
    # COCO: x = 10, y = 20, 3 wide, 4 high
    assert boxes_from_xywh([[10, 20, 3, 4]]) == [[20, 10, 24, 13]]
    assert boxes_from_xywh([[10, 20, 30, 1, 2, 3]]) == [[30, 20, 10, 33, 22, 11]]


@pytest.mark.parametrize("boxes", [[[1.5, 2, 3, 4]], [[1, 2, 3, 4, 5, 6], [0, 0, 0, 1, 1, 1]], []])
def test_flipping_back_is_the_inverse(boxes):
    assert boxes_to_xywh(boxes_from_xywh(boxes)) == boxes


def test_geometry_and_files_do_not_load_torch():
    code = "import microtome.geometry, microtome.files, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "spacing, steps, expected",
    [
        ((0.5, 0.5), (4, 2), ((4, 4), (2, 2))),
        ((2.0, 0.5, 0.5), (2, 2, 2), ((1, 2, 2), (1, 2, 2), (2, 2, 2))),
        ((2.0, 0.5, 0.5), (4, 2), ((1, 4, 4), (2, 2, 2))),
        ((0.9, 0.5, 0.5), (2, 2), ((1, 2, 2), (2, 2, 2))),
        ((0.7, 0.5, 0.5), (2, 2), ((2, 2, 2), (2, 2, 2))),
        ((4.0, 1.0, 0.5), (16,), ((2, 8, 16),)),
    ],
)
def test_strides_are_proposed_that_make_cells_cubes(spacing, steps, expected):
    assert proposed_strides(spacing, steps) == expected


def test_steps_that_are_no_halvings_say_so():
    with pytest.raises(ValueError, match=r"powers of two, got \[2, 3\]"):
        proposed_strides((1.0, 1.0), (2, 3))
