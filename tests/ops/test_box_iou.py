"""Overlap of boxes, against torchvision in 2D and counted pixels in 3D."""

import pytest
import torch
from torchvision.ops import box_iou as torchvision_iou
from torchvision.ops import generalized_box_iou as torchvision_giou

from microtome.ops.box_iou import BACKENDS, box_giou, box_iou
from microtome.testing import OperatorContract


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


def test_in_two_dimensions_it_is_that_of_torchvision():
    a, b = boxes(2, 40), boxes(2, 30, 1)
    whole = (a[:, 2:] > a[:, :2]).all(1)[:, None]  # torchvision: nan between two empty boxes
    torch.testing.assert_close(box_iou(a, b), torchvision_iou(xyxy(a), xyxy(b)).where(whole, 0))
    expected = torchvision_giou(xyxy(a), xyxy(b))
    torch.testing.assert_close(box_giou(a, b)[whole[:, 0]], expected[whole[:, 0]])


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_it_counts_pixels(dims):
    a, b = (boxes(dims, 9, seed).round().long() for seed in (0, 1))
    canvas = torch.zeros(9, *[14] * dims, dtype=torch.bool)
    pixels = [canvas.clone(), canvas.clone()]
    for mask, some in zip(pixels, (a, b), strict=True):
        for i, box in enumerate(some.tolist()):
            mask[(i, *[slice(*ends) for ends in zip(box[:dims], box[dims:], strict=True)])] = True
    x, y = (mask.flatten(1).float() for mask in pixels)
    shared, union = x @ y.T, (x[:, None] + y[None]).gt(0).sum(-1)
    torch.testing.assert_close(box_iou(a, b), shared / union.clamp(min=1))


def test_boxes_apart_are_told_apart_by_giou_only():
    a = torch.tensor([[0.0, 0, 1, 1]])
    others = torch.tensor([[0.0, 1, 1, 2], [0.0, 3, 1, 4]])
    assert box_iou(a, others).tolist() == [[0, 0]]
    assert box_giou(a, others).tolist() == [[0, -0.5]]


def test_boxes_without_content_overlap_nothing():
    box = torch.tensor([[2.0, 2, 2, 5], [4.0, 4, 1, 1]])  # flat, and the wrong way round
    assert box_iou(box, box).eq(0).all()
    leaf = box.requires_grad_()
    (box_iou(leaf, leaf).sum() + box_giou(leaf, leaf).sum()).backward()
    assert leaf.grad.isfinite().all()


def test_an_image_is_a_volume_of_one_layer():
    a, b = boxes(2, 8), boxes(2, 9, 1)
    deep = [
        torch.stack([x[:, 0] * 0, *x[:, :2].T, x[:, 0] * 0 + 1, *x[:, 2:].T], 1) for x in (a, b)
    ]
    torch.testing.assert_close(box_iou(*deep), box_iou(a, b))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"box_iou: boxes are \[N, 2D\].*got \[4\]; others must"):
        box_iou(torch.zeros(4), torch.zeros(2, 4).half())
    with pytest.raises(ValueError, match="box_giou: boxes have 4 coordinates, others 6"):
        box_giou(torch.zeros(2, 4), torch.zeros(2, 6))
