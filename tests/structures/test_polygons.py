"""Outlines of masks; shapely's rules, scikit-image and COCO's tools are the judges."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco
from scipy import ndimage
from skimage.draw import polygon2mask

from microtome.structures.polygons import (
    Polygon,
    coco_mask,
    coco_segmentation,
    from_polygons,
    to_polygons,
)

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8))


def drawn(text):
    return np.array([[c == "#" for c in line] for line in text.split()])


PINCHED = drawn("#### ##.# #.## ####")  # a hole of two pixels that touch at a corner
OPEN = drawn("### #.# ##. ###")  # the hole touches the outside at a corner


def signed_area(ring):
    y, x = ring.T
    return (np.roll(y, -1) * x - y * np.roll(x, -1)).sum() / 2


@given(MASKS)
@example(PINCHED)
@example(OPEN)
def test_there_and_back(mask):
    polygons = to_polygons(mask)
    assert np.array_equal(from_polygons(polygons, mask.shape), mask)
    assert len(polygons) == ndimage.label(mask)[1]
    assert sum(signed_area(r) for p in polygons for r in p.rings) == mask.sum()


@given(MASKS)
@example(PINCHED)
@example(OPEN)
def test_rings_are_simple(mask):
    """No ring meets itself, corners are corners, exteriors are clockwise and holes are not."""
    for polygon in to_polygons(mask):
        assert signed_area(polygon.exterior) > 0
        assert all(signed_area(hole) < 0 for hole in polygon.holes)
        for ring in polygon.rings:
            assert len(np.unique(ring, axis=0)) == len(ring)
            steps = np.roll(ring, -1, axis=0) - ring
            assert ((steps != 0).sum(axis=1) == 1).all()
            assert ((steps != 0) != (np.roll(steps, -1, axis=0) != 0)).all()


def test_a_square_with_a_hole():
    mask = drawn("..... .###. .#.#. .###.")
    (ring,) = to_polygons(mask)
    assert ring.exterior.tolist() == [[1, 1], [1, 4], [4, 4], [4, 1]]
    assert [h.tolist() for h in ring.holes] == [[[3, 2], [3, 3], [2, 3], [2, 2]]]


def test_what_touches_at_a_corner():
    assert len(to_polygons(drawn("#. .#"))) == 2
    (pinched,) = to_polygons(PINCHED)
    assert len(pinched.holes) == 2
    (open_,) = to_polygons(OPEN)
    assert len(open_.holes) == 1


def test_an_empty_mask_has_no_outline():
    assert to_polygons(np.zeros((3, 4), bool)) == []
    assert not from_polygons([], (3, 4)).any()


EIGHTHS = st.integers(-40, 200).map(lambda n: n / 8)
POINTS = st.lists(st.tuples(EIGHTHS, EIGHTHS), min_size=3, max_size=7)


@given(POINTS)
def test_any_polygon_is_filled_by_pixel_centres(points):
    """Scikit-image's pixels are points, so half a pixel is taken off; no border meets a centre."""
    corners = np.array(points) + np.array([0.01234567, 0.00765432])
    ours = from_polygons([Polygon(corners)], (20, 20))
    assert np.array_equal(ours, polygon2mask((20, 20), corners - 0.5))


def test_corners_must_be_finite():
    with pytest.raises(ValueError, match="not finite"):
        from_polygons([Polygon(np.array([[0, 0], [1, np.nan], [3, 3]]))], (4, 4))


def test_cocos_polygons_are_x_y():
    """A wide rectangle: 2 rows, 5 columns."""
    mask = np.zeros((6, 8), bool)
    mask[1:3, 2:7] = True
    assert coco_segmentation(mask) == [[2, 1, 7, 1, 7, 3, 2, 3]]
    theirs = coco.decode(coco.frPyObjects(coco_segmentation(mask), 6, 8))[..., 0]
    assert np.array_equal(coco_mask(coco_segmentation(mask), (6, 8)), mask)
    assert np.array_equal(theirs.astype(bool), mask)


def test_holes_make_run_lengths():
    found = coco_segmentation(OPEN)
    assert found["size"] == [4, 3] and np.array_equal(coco.decode(found), OPEN)
    assert np.array_equal(coco_mask(found, (4, 3)), OPEN)
    with pytest.raises(ValueError, match=r"\[4, 3\] in an image of \(3, 4\)"):
        coco_mask(found, (3, 4))


def test_several_polygons_are_one_object():
    both = coco_mask([[0, 0, 2, 0, 2, 1, 0, 1], [3, 1, 4, 1, 4, 2, 3, 2]], (2, 4))
    assert np.array_equal(both, drawn("##.. ...#"))


def test_a_polygon_is_pairs():
    with pytest.raises(ValueError, match="got 5"):
        coco_mask([[0, 0, 2, 0, 2]], (2, 4))


def test_cocos_tools_agree_on_a_large_disc():
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    flat = (50 + 40 * np.stack([np.cos(angle), np.sin(angle)], 1)).ravel().tolist()
    ours = coco_mask([flat], (100, 100))
    theirs = coco.decode(coco.frPyObjects([flat], 100, 100))[..., 0].astype(bool)
    assert (ours != theirs).sum() < 0.01 * ours.sum()  # they also take what is barely touched
