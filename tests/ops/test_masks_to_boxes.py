"""Boxes of label maps, against torchvision and scikit-image."""

import numpy as np
import pytest
import torch
from skimage.measure import regionprops
from torchvision.ops import masks_to_boxes as torchvision_boxes

from microtome.ops.masks_to_boxes import BACKENDS, masks_to_boxes
from microtome.testing import BackendContract


def blobs(dims, count, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.zeros((12, 17, 23)[-dims:], np.int32)
    for number in range(1, count + 1):
        corner = [rng.integers(0, s - 3) for s in labels.shape]
        labels[tuple(slice(c, c + rng.integers(1, 4)) for c in corner)] = number
    return labels


class TestMasksToBoxes(BackendContract):
    name = "masks_to_boxes"
    backends = BACKENDS
    dtypes = (torch.int32,)

    def call(self, *args):
        return masks_to_boxes(*args)

    def make(self, spatial_dims, dtype):
        return torch.tensor(blobs(spatial_dims, 6))[None].to(dtype), 6

    def empty(self, spatial_dims):
        return torch.zeros(1, *[4] * spatial_dims, dtype=torch.int32), 0


def test_torch_finds_no_fault_in_the_operator():
    args = torch.tensor(blobs(2, 6))[None], 6
    torch.library.opcheck(torch.ops.microtome.masks_to_boxes.default, args)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_boxes_are_those_of_scikit_image(dims):
    labels = blobs(dims, 6)
    ours = masks_to_boxes(torch.tensor(labels)[None], 6)
    padded = labels if dims > 1 else labels[None]
    for region in regionprops(padded):
        low, high = region.bbox[: padded.ndim], region.bbox[padded.ndim :]
        assert ours[region.label - 1].tolist() == [*low[-dims:], *high[-dims:]]


def test_boxes_are_those_of_torchvision():
    labels = torch.tensor(blobs(2, 5))
    seen = [n for n in range(1, 6) if (labels == n).any()]
    x0, y0, x1, y1 = torchvision_boxes(torch.stack([labels == n for n in seen])).long().T
    expected = torch.stack([y0, x0, y1 + 1, x1 + 1], 1)  # torchvision: xyxy, last pixel included
    assert masks_to_boxes(labels[None], 5)[[n - 1 for n in seen]].equal(expected)


def test_an_object_may_lie_in_several_layers():
    maps = torch.zeros(2, 4, 6, dtype=torch.int32)
    maps[0, 1, 1], maps[1, 3, 5] = 1, 1
    assert masks_to_boxes(maps, 1).tolist() == [[1, 1, 4, 6]]


@pytest.mark.parametrize("dims", [2, 3])
def test_an_object_without_a_pixel_has_a_box_of_zeros(dims):
    maps = torch.zeros(1, *[4] * dims, dtype=torch.uint8)
    maps[(0, *[2] * dims)] = 2
    boxes = masks_to_boxes(maps, 3)
    assert boxes.tolist() == [[0] * 2 * dims, [2] * dims + [3] * dims, [0] * 2 * dims]


@pytest.mark.parametrize("shape", [(1, 4, 4), (0, 4, 4), (1, 0, 4)])
def test_no_objects_no_boxes(shape):
    assert masks_to_boxes(torch.zeros(shape, dtype=torch.int64), 0).shape == (0, 4)


def test_numbers_beyond_count_and_floats_are_refused():
    with pytest.raises(ValueError, match="holds 4, but there are only 3 objects"):
        masks_to_boxes(torch.tensor([[[0, 4]]]), 3)
    with pytest.raises(ValueError, match=r"integer label maps, got torch\.float32"):
        masks_to_boxes(torch.zeros(1, 2, 2), 1)
