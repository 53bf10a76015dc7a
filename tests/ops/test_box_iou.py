"""Overlap of boxes, against torchvision in 2D and counted pixels in 3D."""

import pytest
import torch
from hypothesis.strategies import booleans, integers
from torchvision.ops import box_iou as torchvision_iou
from torchvision.ops import generalized_box_iou as torchvision_giou

from microtome.ops import using
from microtome.ops.box_iou import BACKENDS, box_giou, box_iou
from microtome.testing import OperatorContract

HERE = {b.name: b.lacking for b in BACKENDS}


@pytest.fixture(params=HERE)
def backend(request):
    if HERE[request.param]:
        pytest.skip(HERE[request.param])
    with using(box_iou=request.param):
        yield request.param


def boxes(dims, count, seed=0, dtype=torch.float32):
    """Random ones; a few of them empty."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, dims, generator=generator, dtype=torch.float64) * 8
    size = torch.rand(count, dims, generator=generator, dtype=torch.float64) * 5
    size[::7] = 0
    return torch.cat([low, low + size], 1).to(dtype)


def xyxy(boxes):
    """Array order to torchvision's; only here."""
    return boxes[:, [1, 0, 3, 2]]


class TestBoxIou(OperatorContract):
    name = "box_iou"
    backends = BACKENDS
    test_half_precision_accumulates_in_float = None  # boxes are never half

    def call(self, *args):
        return torch.stack([box_iou(*args), box_giou(*args)])

    def make(self, spatial_dims, dtype):
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        return boxes(spatial_dims, 6, 1, exact)[1:], boxes(spatial_dims, 5, 2, exact)[1:]

    def empty(self, spatial_dims):
        return boxes(spatial_dims, 0), boxes(spatial_dims, 4)

    def drawn(self, draw, spatial_dims):
        """Whole numbers among them: equal sides, touching boxes, empty ones, some inside out."""
        random = torch.Generator().manual_seed(draw(integers(0, 99)))
        some = [
            7 * torch.rand(draw(integers(0, 40)), 2 * spatial_dims, generator=random)
            for _ in range(2)
        ]
        return tuple(x.round() if draw(booleans()) else x for x in some)

    def operations(self, *args):
        operator = torch.ops.microtome.box_iou
        return [(operator, (*args, False)), (operator, (*args, True))]


def test_in_two_dimensions_it_is_that_of_torchvision(backend):
    a, b = boxes(2, 40), boxes(2, 30, 1)
    whole = (a[:, 2:] > a[:, :2]).all(1)[:, None]  # torchvision: nan between two empty boxes
    torch.testing.assert_close(box_iou(a, b), torchvision_iou(xyxy(a), xyxy(b)).where(whole, 0))
    expected = torchvision_giou(xyxy(a), xyxy(b))
    torch.testing.assert_close(box_giou(a, b)[whole[:, 0]], expected[whole[:, 0]])


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_it_counts_pixels(backend, dims):
    a, b = (boxes(dims, 9, seed).round().long() for seed in (0, 1))
    canvas = torch.zeros(9, *[14] * dims, dtype=torch.bool)
    pixels = [canvas.clone(), canvas.clone()]
    for mask, some in zip(pixels, (a, b), strict=True):
        for i, box in enumerate(some.tolist()):
            mask[(i, *[slice(*ends) for ends in zip(box[:dims], box[dims:], strict=True)])] = True
    x, y = (mask.flatten(1).float() for mask in pixels)
    shared, union = x @ y.T, (x[:, None] + y[None]).gt(0).sum(-1)
    torch.testing.assert_close(box_iou(a, b), shared / union.clamp(min=1))


def test_boxes_apart_are_told_apart_by_giou_only(backend):
    a = torch.tensor([[0.0, 0, 1, 1]])
    others = torch.tensor([[0.0, 1, 1, 2], [0.0, 3, 1, 4]])
    assert box_iou(a, others).tolist() == [[0, 0]]
    assert box_giou(a, others).tolist() == [[0, -0.5]]


def test_boxes_without_content_overlap_nothing(backend):
    box = torch.tensor([[2.0, 2, 2, 5], [4.0, 4, 1, 1]])  # flat, and the wrong way round
    assert box_iou(box, box).eq(0).all()
    leaf = box.requires_grad_()
    (box_iou(leaf, leaf).sum() + box_giou(leaf, leaf).sum()).backward()
    assert leaf.grad.isfinite().all()


def test_an_image_is_a_volume_of_one_layer(backend):
    a, b = boxes(2, 8), boxes(2, 9, 1)
    deep = [
        torch.stack([x[:, 0] * 0, *x[:, :2].T, x[:, 0] * 0 + 1, *x[:, 2:].T], 1) for x in (a, b)
    ]
    torch.testing.assert_close(box_iou(*deep), box_iou(a, b))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_box_is_itself(backend, dims):
    """To the last bit, whatever instructions round."""
    some = boxes(dims, 300)[1:7]
    assert box_iou(some, some).diagonal().eq(1).all()
    assert box_giou(some, some).diagonal().eq(1).all()


def test_a_box_that_is_not_a_number_overlaps_nothing(backend):
    box = torch.tensor([[0.0, 0, 4, 4], [0.0, torch.nan, 4, 4], [0.0, 0, torch.nan, 4]])
    for overlap in (box_iou(box, box), box_giou(box, box)):
        assert overlap[0].tolist() == [1, 0, 0] and overlap[1:].eq(0).all()


def test_the_wider_dtype_of_two_decides(backend):
    whole = torch.tensor([[0, 0, 2**24 + 1, 1]])
    assert box_iou(whole, whole.double()).dtype == torch.float64
    assert box_iou(whole, whole - torch.tensor([0, 0, 1, 0])).dtype == torch.float32
    exact = box_iou(whole, whole.double() - torch.tensor([0, 0, 1, 0]))
    assert exact.item() == 2**24 / (2**24 + 1)


def test_it_is_one_graph_for_any_numbers_of_boxes(backend):
    torch.compiler.reset()
    compiled = torch.compile(box_giou, fullgraph=True, dynamic=True, backend="aot_eager")
    for count, dims in ((5, 2), (9, 2), (4, 3)):
        pair = boxes(dims, count), boxes(dims, 2 * count, 1)
        torch.testing.assert_close(compiled(*pair), box_giou(*pair))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"box_iou: boxes are \[N, 2D\].*got \[4\]; others must"):
        box_iou(torch.zeros(4), torch.zeros(2, 4).half())
    with pytest.raises(ValueError, match="box_giou: boxes have 4 coordinates, others 6"):
        box_giou(torch.zeros(2, 4), torch.zeros(2, 6))
