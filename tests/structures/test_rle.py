"""Run lengths, with COCO's own tools as judge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from hypothesis.strategies import integers
from pycocotools import mask as coco

from microtome.structures.rle import decode_rle, encode_rle

PICTURES = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
VOLUMES = arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5))


@given(PICTURES)
def test_the_string_is_cocos(mask):
    assert encode_rle(mask)["counts"] == coco.encode(np.asfortranarray(mask.astype(np.uint8)))[
        "counts"
    ].decode("ascii")
    assert np.array_equal(coco.decode(encode_rle(mask)), mask)


@given(PICTURES | VOLUMES)
def test_there_and_back(mask):
    assert np.array_equal(decode_rle(encode_rle(mask)), mask)


def test_long_runs_need_several_characters():
    """Runs of 1,000,000 and differences that are negative, as in pictures of real size."""
    mask = np.zeros((3000, 1000), bool)
    mask[:, 400], mask[10:20, 700], mask[::2, 900:] = True, True, True
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode_rle(mask)["counts"] == theirs["counts"].decode("ascii")
    assert np.array_equal(decode_rle({"size": [3000, 1000], "counts": theirs["counts"]}), mask)


def test_volumes_are_counted_along_the_first_axis():
    mask = np.zeros((2, 2, 2), bool)
    mask[1, 0, 0] = mask[0, 1, 0] = True  # the second and third voxel, z first
    assert encode_rle(mask) == {"size": [2, 2, 2], "counts": [1, 2, 5]}


def test_numbers_do_for_pictures_too():
    """COCO writes crowds so."""
    found = decode_rle({"size": [2, 3], "counts": [0, 1, 3, 2]})
    assert found.tolist() == [[True, False, True], [False, False, True]]


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [2, 3], "counts": [2, 3]},
        {"size": [2, 3], "counts": [7, -1]},
        {"size": [2, 3], "counts": "`"},  # says that more follows
        {"size": [2, 3], "counts": "\x01\x02"},
        {"size": [2, 3], "counts": "µ"},
        {"size": [2, 3], "counts": "o" * 20 + "0"},
    ],
)
def test_damaged_counts_are_refused(rle):
    with pytest.raises(ValueError, match="run lengths"):
        decode_rle(rle)


@given(PICTURES | VOLUMES, arrays(np.int64, 3, elements=integers(0, 3)))
def test_a_box_of_an_image_is_the_image_with_nothing_around(mask, around):
    before, after = around[: mask.ndim], around[::-1][: mask.ndim]
    image = np.pad(mask, np.stack([before, after], 1))
    assert encode_rle(mask, before, image.shape) == encode_rle(image)
