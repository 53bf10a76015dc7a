"""Boxes of label maps, against torchvision and scikit-image."""

import numpy as np
import pytest
import torch
from hypothesis.strategies import integers, sampled_from
from skimage.measure import regionprops
from torchvision.ops import masks_to_boxes as torchvision_boxes

from microtome.ops import using
from microtome.ops.masks_to_boxes import BACKENDS, masks_to_boxes
from microtome.testing import BackendContract

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
HERE = {b.name: b.lacking for b in BACKENDS}


@pytest.fixture(params=HERE)
def backend(request):
    if HERE[request.param]:
        pytest.skip(HERE[request.param])
    with using(masks_to_boxes=request.param):
        yield request.param


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
    dtypes = INTEGERS

    def call(self, *args):
        return masks_to_boxes(*args)

    def make(self, spatial_dims, dtype):
        return torch.tensor(blobs(spatial_dims, 6))[None].to(dtype), 6

    def empty(self, spatial_dims):
        return torch.zeros(1, *[4] * spatial_dims, dtype=torch.int32), 0

    def drawn(self, draw, spatial_dims):
        """Layers and sides of nothing, lines longer than what is read at once, runs, any layout."""
        random = torch.Generator().manual_seed(draw(integers(0, 99)))
        count, times = draw(integers(0, 40)), draw(integers(1, 5))
        sides = [draw(integers(0, 9)) for _ in range(spatial_dims)]
        sides[-1] = draw(sampled_from([*sides[-1:], 2047, 5000]))
        shape = [draw(integers(0, 3)), *sides]
        runs = torch.randint(count + 1, shape, generator=random).to(draw(sampled_from(INTEGERS)))
        maps = runs.repeat_interleave(times, -1)[..., : sides[-1]]
        return maps.transpose(1, -1) if draw(sampled_from([True, False])) else maps, count

    def operations(self, *args):
        return [(torch.ops.microtome.masks_to_boxes, args)]


def test_torch_finds_no_fault_in_the_reference():
    args = torch.tensor(blobs(2, 6))[None], 6
    torch.library.opcheck(torch.ops.microtome.masks_to_boxes_reference.default, args)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_boxes_are_those_of_scikit_image(backend, dims):
    labels = blobs(dims, 6)
    ours = masks_to_boxes(torch.tensor(labels)[None], 6)
    padded = labels if dims > 1 else labels[None]
    for region in regionprops(padded):
        low, high = region.bbox[: padded.ndim], region.bbox[padded.ndim :]
        assert ours[region.label - 1].tolist() == [*low[-dims:], *high[-dims:]]


def test_boxes_are_those_of_torchvision(backend):
    labels = torch.tensor(blobs(2, 5))
    seen = [n for n in range(1, 6) if (labels == n).any()]
    x0, y0, x1, y1 = torchvision_boxes(torch.stack([labels == n for n in seen])).long().T
    expected = torch.stack([y0, x0, y1 + 1, x1 + 1], 1)  # torchvision: xyxy, last pixel included
    assert masks_to_boxes(labels[None], 5)[[n - 1 for n in seen]].equal(expected)


def test_an_object_may_lie_in_several_layers(backend):
    maps = torch.zeros(2, 4, 6, dtype=torch.int32)
    maps[0, 1, 1], maps[1, 3, 5] = 1, 1
    assert masks_to_boxes(maps, 1).tolist() == [[1, 1, 4, 6]]


@pytest.mark.parametrize("dims", [2, 3])
def test_an_object_without_a_pixel_has_a_box_of_zeros(backend, dims):
    maps = torch.zeros(1, *[4] * dims, dtype=torch.uint8)
    maps[(0, *[2] * dims)] = 2
    boxes = masks_to_boxes(maps, 3)
    assert boxes.tolist() == [[0] * 2 * dims, [2] * dims + [3] * dims, [0] * 2 * dims]


@pytest.mark.parametrize("shape", [(1, 4, 4), (0, 4, 4), (1, 0, 4)])
def test_no_objects_no_boxes(backend, shape):
    assert masks_to_boxes(torch.zeros(shape, dtype=torch.int64), 0).shape == (0, 4)


def test_numbers_that_are_no_objects_are_refused(backend):
    with pytest.raises((ValueError, RuntimeError), match="holds 4, but there are only 3 objects"):
        masks_to_boxes(torch.tensor([[[0, 4]]]), 3)
    with pytest.raises((ValueError, RuntimeError), match="holds -2, below 0"):
        masks_to_boxes(torch.tensor([[[0, -2]]]), 3)


def test_floats_are_refused():
    with pytest.raises(ValueError, match=r"integer label maps, got torch\.float32"):
        masks_to_boxes(torch.zeros(1, 2, 2), 1)


def test_a_mask_of_booleans_is_a_map_of_one_object(backend):
    mask = torch.zeros(1, 5, 7, dtype=torch.bool)
    mask[0, 1:3, 4] = True
    assert masks_to_boxes(mask, 1).tolist() == [[1, 4, 3, 5]]


def test_it_is_one_graph_for_any_shape(backend):
    torch.compiler.reset()
    compiled = torch.compile(masks_to_boxes, fullgraph=True, dynamic=True, backend="aot_eager")
    for dims, count in ((2, 6), (2, 9), (3, 4)):
        maps = torch.tensor(blobs(dims, count))[None]
        assert compiled(maps, count).equal(masks_to_boxes(maps, count))
