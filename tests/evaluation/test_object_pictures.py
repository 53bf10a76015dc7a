from __future__ import annotations

import numpy as np
import pytest
import torch

from microtome.evaluation import object_overlay
from microtome.evaluation.object_pictures import outlined
from microtome.structures import Classes, Instances, LabelLayers

CELLS = Classes(("background", "cell"))
KINDS = Classes(("back", "a", "b"), colours=((0, 0, 0), (250, 10, 20), (30, 240, 40)))


def two(shape):
    """Two touching objects in the middle of an image."""
    ids = torch.zeros(shape, dtype=torch.int64)
    middle = tuple(slice(s // 4, s - s // 4) for s in shape)
    ids[middle] = 4
    ids[(*middle[:-1], slice(shape[-1] // 2, shape[-1] - shape[-1] // 4))] = 9
    return Instances(torch.tensor([1, 2]), masks=LabelLayers.from_ids(ids))


def colours(picture):
    packed = np.asarray(picture, np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return {(int(p >> 16), int(p >> 8 & 255), int(p & 255)) for p in np.unique(packed)}


def test_outlines_lie_inside_and_leave_the_rest():
    objects = two((8, 12))
    image = np.full((8, 12, 3), 90, np.uint8)
    paint = np.array([[255, 0, 0], [0, 255, 0]], np.uint8)
    found = outlined(image, list(objects.masks.maps), paint)
    red, green = (found == paint[0]).all(-1), (found == paint[1]).all(-1)
    assert not (red & (objects.masks.maps[0].numpy() != 1)).any()
    assert red.sum() == green.sum() == 4 * 3 - 2  # 4 by 3 pixels without those inside
    assert (found[~(red | green)] == 90).all()


@pytest.mark.parametrize("shape", [(40, 60), (12, 40, 60)])
@pytest.mark.parametrize("projected", [False, True])
def test_each_object_or_each_class_has_a_colour(shape, projected):
    image = torch.zeros(1, *shape)
    one = object_overlay(image, two(shape), CELLS, "one", two(shape), projected=projected)
    assert {(255, 38, 38), (38, 101, 255)} <= colours(one)
    many = object_overlay(image, two(shape), KINDS, projected=projected)
    assert {(250, 10, 20), (30, 240, 40)} <= colours(many)
    assert many.width < one.width, "the truth is a column more"
    assert colours(many) & {(255, 38, 38)} == set()


def test_projections_show_what_no_middle_plane_does():
    image, ids = torch.zeros(1, 9, 30, 30), torch.zeros(9, 30, 30, dtype=torch.int64)
    image[0, 1, 2:5, 2:5] = 1
    ids[1, 2:6, 2:6] = 1
    found = Instances(torch.tensor([1]), masks=LabelLayers.from_ids(ids))
    assert (255, 38, 38) not in colours(object_overlay(image, found, CELLS))
    assert (255, 38, 38) in colours(object_overlay(image, found, CELLS, projected=True))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"the prediction has the shape \[40, 60\]"):
        object_overlay(torch.zeros(3, 40, 61), two((40, 60)), CELLS)
    bare = Instances(torch.tensor([1]))
    with pytest.raises(ValueError, match="the truth have no masks"):
        object_overlay(torch.zeros(3, 40, 60), two((40, 60)), CELLS, truth=bare)


@pytest.mark.parametrize("shape", [(40, 60), (12, 40, 60)])
def test_errors_say_what_is_found_false_and_missed(shape):
    truth, found = two(shape), two(shape)
    image = torch.zeros(1, *shape)
    green, red, yellow = (60, 200, 90), (230, 30, 60), (255, 200, 0)

    def told(result):
        whole = {"projected": len(shape) > 2, "errors": True}
        page = np.asarray(object_overlay(image, result, CELLS, truth=truth, **whole))
        swatch = 14 * 14  # in the legend
        return [int((page == c).all(-1).sum()) > swatch for c in (green, red, yellow)]

    assert told(found) == [True, False, False]
    assert told(found[torch.tensor([True, False])]) == [True, False, True]
    other = Instances(torch.tensor([1, 1]), masks=found.masks)  # the second is of class 2
    assert told(other) == [True, True, False]  # it lies on what was missed
    assert told(found[torch.tensor([False, False])]) == [False, False, True]


@pytest.mark.parametrize("shape", [(40, 60), (12, 40, 60)])
def test_without_an_image_there_is_no_column_for_it(shape):
    black, plain = (
        object_overlay(image, two(shape), CELLS, "", two(shape), projected=True, errors=True)
        for image in (torch.zeros(1, *shape), None)
    )
    assert plain.width < black.width and colours(plain) >= {(255, 38, 38), (60, 200, 90)}
    with pytest.raises(ValueError, match="the prediction have no masks"):
        object_overlay(None, Instances(torch.tensor([1])), CELLS)
