"""Boxes: measures, moves, other axis orders and overlaps; torchvision is the judge in 2D."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from torchvision import ops as theirs

from microtome.structures import Boxes
from microtome.structures.box_formats import FORMATS, from_format, to_format

SIDE = st.integers(-2000, 2000).map(lambda n: n / 8)  # sums and halves of them are exact


def drawn(count, dims, seed=0):
    """Boxes the right way round, [N, 2D] float64."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, dims, generator=generator, dtype=torch.float64) * 10
    size = torch.rand(count, dims, generator=generator, dtype=torch.float64) * 10 + 0.1
    return torch.cat([low, low + size], 1)


def flipped(boxes):
    """Array order to torchvision's `xyxy`."""
    return boxes[:, [1, 0, 3, 2]]


ONE = Boxes(torch.tensor([[1, 2, 3, 4, 6, 9]]))  # 3 x 4 x 6 from (1, 2, 3) on


def test_measures():
    assert ONE.sizes().tolist() == [[3, 4, 6]] and ONE.areas().tolist() == [72]
    assert ONE.centres().tolist() == [[2.5, 4, 6]]
    both = Boxes(torch.tensor([[0, 0, 2, 3], [2, 2, 1, 9], [1, 1, 1, 5]]))
    assert both.areas().tolist() == [6, 0, 0]  # the second is the wrong way round
    assert both.nonempty().tolist() == [True, False, False]
    assert Boxes(torch.tensor([[0, 0, 2, 3.0]])).nonempty(2).tolist() == [False]


def test_inside_and_clipped():
    boxes = Boxes(torch.tensor([[0, 0, 4, 8], [-1, 0, 4, 8], [0, 0, 4, 9]]))
    assert boxes.inside((4, 8)).tolist() == [True, False, False]
    assert boxes.clip((4, 8)).tensor.tolist() == [[0, 0, 4, 8]] * 3
    assert_close(
        flipped(Boxes(drawn(9, 2)).clip((8.0, 6.0)).tensor),
        theirs.clip_boxes_to_image(flipped(drawn(9, 2)), (8, 6)),
    )


def test_scaled_resized_expanded():
    assert ONE.scale((1, 2, 0.5)).tensor.tolist() == [[1, 4, 1.5, 4, 12, 4.5]]
    assert ONE.resize((4, 6, 9), (8, 3, 9)).tensor.tolist() == [[2, 1, 3, 8, 3, 9]]
    assert ONE.expand((0, 1, 2)).tensor.tolist() == [[1, 1, 1, 4, 7, 11]]


def test_placed_in_a_cut_and_enlarged_image():
    """Half a pixel of the source a pixel, from (2, 4) on."""
    boxes = Boxes(torch.tensor([[3.0, 5, 6, 20], [0, 0, 2, 4]]))
    placed = boxes.place((2, 4), (0.5, 0.5), (16, 10)).tensor
    assert placed.tolist() == [[2, 2, 8, 10], [0, 0, 0, 0]]


def test_chosen():
    boxes = Boxes(drawn(3, 2))
    assert boxes[torch.tensor([True, False, True])].tensor.equal(boxes.tensor[[0, 2]])
    assert len(boxes[1]) == 1 and boxes[-1].tensor.equal(boxes.tensor[2:])


@pytest.mark.parametrize("name", FORMATS)
@given(st.data())
def test_other_orders_there_and_back(name, data):
    dims = FORMATS[name][1]
    values = data.draw(st.lists(st.lists(SIDE, min_size=2 * dims, max_size=2 * dims), max_size=3))
    boxes = torch.tensor(values, dtype=torch.float64).reshape(-1, 2 * dims)
    assert from_format(to_format(boxes, name), name).equal(boxes)
    assert to_format(from_format(boxes, name), name).equal(boxes)


@pytest.mark.parametrize("name", ["xyxy", "xywh", "cxcywh"])
def test_torchvision_says_the_same(name):
    boxes = drawn(5, 2)
    assert_close(Boxes(boxes).to_format(name), theirs.box_convert(flipped(boxes), "xyxy", name))


def test_orders_with_three_axes():
    """3 x 4 x 6 along z, y, x; so width 6, height 4, depth 3."""
    assert ONE.to_format("xyzxyz").tolist() == [[3, 2, 1, 9, 6, 4]]
    assert ONE.to_format("xyzwhd").tolist() == [[3, 2, 1, 6, 4, 3]]
    assert ONE.to_format("cxcyczwhd").tolist() == [[6, 4, 2.5, 6, 4, 3]]
    assert Boxes.from_format(torch.tensor([[3, 2, 1, 6, 4, 3]]), "xyzwhd").tensor.equal(ONE.tensor)


def test_orders_that_do_not_fit():
    with pytest.raises(ValueError, match="expected one of xyxy"):
        ONE.to_format("yolo")
    with pytest.raises(ValueError, match=r"xywh is \[N, 4\], got \[1, 6\]"):
        ONE.to_format("xywh")


def test_overlaps_as_torchvisions():
    a, b = drawn(7, 2), drawn(5, 2, seed=1)
    ours, others, mine, yours = Boxes(a), Boxes(b), flipped(a), flipped(b)
    assert_close(ours.iou(others), theirs.box_iou(mine, yours), check_dtype=False)
    assert_close(ours.giou(others), theirs.generalized_box_iou(mine, yours), check_dtype=False)
    assert_close(
        ours.diou(others),
        theirs.distance_box_iou(mine, yours),
        check_dtype=False,
        rtol=1e-5,
        atol=1e-6,
    )
    assert_close(
        ours.ciou(others),
        theirs.complete_box_iou(mine, yours),
        check_dtype=False,
        rtol=1e-5,
        atol=1e-6,
    )


def test_overlaps_with_three_axes():
    """A cube of 2 and one moved by 1 along z: half of it is shared."""
    cube = Boxes(torch.tensor([[0.0, 0, 0, 2, 2, 2]]))
    moved = Boxes(torch.tensor([[1.0, 0, 0, 3, 2, 2]]))
    assert_close(cube.ioa(moved), torch.tensor([[0.5]]))
    assert_close(cube.iou(moved), torch.tensor([[1 / 3]]))
    assert_close(cube.diou(moved), torch.tensor([[1 / 3 - 1 / (9 + 4 + 4)]]))
    assert_close(cube.ciou(moved), cube.diou(moved))  # equal proportions
    flat = Boxes(torch.tensor([[0.0, 0, 0, 1, 2, 2]]))
    assert cube.ciou(flat) < cube.diou(flat)
    assert flat.ioa(cube).item() == 1 and Boxes(torch.zeros(1, 6)).ioa(cube).item() == 0


def test_turned_boxes_overlap_alike():
    """No axis is special: reversing the axes changes nothing."""
    a, b = drawn(4, 3), drawn(4, 3, seed=1)
    order = [2, 1, 0, 5, 4, 3]
    for kind in ("iou", "giou", "diou", "ciou", "ioa"):
        plain = getattr(Boxes(a), kind)(Boxes(b))
        assert_close(getattr(Boxes(a[:, order]), kind)(Boxes(b[:, order])), plain)
