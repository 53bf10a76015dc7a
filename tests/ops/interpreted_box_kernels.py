"""Triton kernels of boxes run by its interpreter on the CPU; test_box_kernels.py starts this file,
with TRITON_INTERPRET=1, in a process of its own: Triton reads it when it is first imported."""

import os

import pytest
import test_nms
import test_roi_align
import torch

from microtome.ops.nms import launch as nms
from microtome.ops.nms import reference as nms_reference
from microtome.ops.roi_align import launch as roi_align
from microtome.ops.roi_align import reference
from microtome.ops.roi_align.gpu import tolerance

assert os.environ.get("TRITON_INTERPRET") == "1"
DIMS = pytest.mark.parametrize("dims", [1, 2, 3])


@pytest.mark.parametrize("threshold, levels", [(0.0, None), (0.3, 5), (0.7, None)])
def test_it_keeps_what_torchvision_keeps(threshold, levels):
    boxes, scores = test_nms.scene(2, 150, levels=levels)
    kept = nms.run(boxes, scores, None, threshold)
    assert kept.equal(test_nms.torchvision_nms(boxes, scores, threshold))


def test_an_iou_equal_to_the_threshold_stays():
    boxes, scores = test_nms.scene(2, 100, extent=6, side=4, levels=3)
    for threshold in (0.25, 1 / 3, 0.5):
        kept = nms.run(boxes.round(), scores, None, threshold)
        assert kept.equal(test_nms.torchvision_nms(boxes.round(), scores, threshold))


@DIMS
@pytest.mark.parametrize("count", [1, 64, 130])
def test_groups_and_axes(dims, count):
    """Chains, too: intervals in a row, each suppressing the next."""
    boxes, scores = test_nms.scene(dims, count, extent=30)
    groups = torch.randint(3, (count,), generator=torch.Generator().manual_seed(0))
    expected = nms_reference.run(boxes, scores, groups, 0.2)
    assert nms.run(boxes, scores, groups, 0.2).equal(expected)
    low = torch.arange(count).float()[:, None].expand(-1, dims)
    chain, falling = torch.cat([low, low + 3], 1), -torch.arange(count).float()
    expected = nms_reference.run(chain, falling, None, 0.1)
    assert nms.run(chain, falling, None, 0.1).equal(expected)


def test_no_boxes_and_values_without_an_order():
    assert nms.run(torch.zeros(0, 4), torch.zeros(0), None, 0.5).shape == (0,)
    boxes, scores = test_nms.scene(2, 5)
    scores[1] = torch.nan
    with pytest.raises(RuntimeError, match="1 scores are not a number; 0 boxes"):
        nms.run(boxes, scores, None, 0.5)


def agree(dims, dtype=torch.float32, last=False):
    maps, rois = test_roi_align.arguments(dims, dtype, count=2)
    how = list(rois.stride), rois.samples
    leaf = maps.clone().requires_grad_()
    expected = reference.run(leaf, rois.boxes, rois.image_index, rois.output, *how)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    by_maps = torch.autograd.grad(expected, leaf, grad)[0]
    if last:
        maps, grad, expected, by_maps = (
            x.movedim(1, -1).contiguous() for x in (maps, grad, expected, by_maps)
        )
    of = rois.boxes, rois.image_index
    ours = roi_align.forward(maps, *of, rois.output, *how, last)
    back = roi_align.backward(grad, *of, maps.shape, *how, last)
    for x, y in ((ours, expected), (back, by_maps)):
        assert x.dtype == dtype and x.is_contiguous()
        torch.testing.assert_close(x, y, rtol=tolerance[dtype], atol=tolerance[dtype])
    return back


@DIMS
@pytest.mark.parametrize("last", [False, True])
def test_roi_align_agrees_with_the_reference(dims, last):
    agree(dims, last=last)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_accumulates_in_float(dtype):
    agree(2, dtype)


def test_deterministic_sums_have_no_order():
    torch.use_deterministic_algorithms(True)
    try:
        one = agree(2)
        maps, rois = test_roi_align.arguments(2, count=2)
        grad = torch.randn(2, 5, *rois.output)
        back = [
            roi_align.backward(g, b, i, maps.shape, list(rois.stride), rois.samples, False)
            for g, b, i in (
                (grad, rois.boxes, rois.image_index),
                (grad.flip(0), rois.boxes.flip(0), rois.image_index.flip(0)),
            )
        ]
    finally:
        torch.use_deterministic_algorithms(False)
    assert back[0].equal(back[1]) and one.isfinite().all()


@pytest.mark.parametrize("image", [-1, 2])
def test_an_image_that_does_not_exist_is_an_error(image):
    """Before memory is touched that is not the maps', forwards and backwards."""
    maps, rois = test_roi_align.arguments(2)
    index = torch.full_like(rois.image_index, image)
    how = list(rois.stride), rois.samples, False
    with pytest.raises(RuntimeError, match="image_index must be 0 to 1"):
        roi_align.forward(maps, rois.boxes, index, rois.output, *how)
    grad = torch.zeros(len(index), 5, *rois.output)
    with pytest.raises(RuntimeError, match="image_index must be 0 to 1"):
        roi_align.backward(grad, rois.boxes, index, maps.shape, *how)


def test_no_boxes():
    maps, rois = test_roi_align.arguments(2, count=0)
    how = rois.boxes, rois.image_index, rois.output, list(rois.stride), rois.samples, False
    assert roi_align.forward(maps, *how).shape == (0, 5, *rois.output)
