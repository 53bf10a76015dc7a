"""Features of boxes: torchvision's in 2D, a composition of grid_sample and pooling in 3D."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torchvision
from hypothesis.strategies import floats, integers, sampled_from
from torch.nn import functional as F

from microtome.ops import using
from microtome.ops.roi_align import BACKENDS, roi_align
from microtome.testing import OperatorContract

SHAPES = {1: (9,), 2: (6, 8), 3: (4, 6, 5)}
OUTPUTS = {1: (3,), 2: (3, 2), 3: (2, 3, 2)}
HERE = {b.name: b.lacking for b in BACKENDS if b.name != "gpu"}  # tensors lie on CPUs


@pytest.fixture(params=HERE)
def backend(request):
    if HERE[request.param]:
        pytest.skip(HERE[request.param])
    with using(roi_align=request.param):
        yield request.param


@dataclass(frozen=True)
class Rois:
    """All but the maps, `*rois`; boxes have no gradient."""

    boxes: torch.Tensor
    image_index: torch.Tensor
    output: tuple
    stride: tuple
    samples: int = 2

    def __iter__(self):
        return iter((self.boxes, self.image_index, self.output, self.stride, self.samples))


def arguments(dims, dtype=torch.float32, count=7, batch=2, channels=5, samples=2, reach=0.5):
    """Random ones; boxes end up to `reach` of the image beyond its borders, some are turned."""
    generator = torch.Generator().manual_seed(dims)
    shape, stride = SHAPES[dims], (4.0, 2.0, 8.0)[:dims]
    maps = torch.randn(batch, channels, *shape, generator=generator, dtype=torch.float64)
    image = torch.tensor(shape) * torch.tensor(stride)
    ends = torch.rand(2, count, dims, generator=generator, dtype=torch.float64)
    low, high = (ends * (1 + 2 * reach) - reach).mul(image)
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    index = torch.randint(max(batch, 1), (count,), generator=generator)
    boxes = torch.cat([low, high], 1).to(exact)
    return maps.to(dtype), Rois(boxes, index, OUTPUTS[dims], stride, samples)


class TestRoiAlign(OperatorContract):
    name = "roi_align"
    backends = BACKENDS

    def call(self, maps, rois):
        return roi_align(maps, *rois)

    def make(self, spatial_dims, dtype):
        channels = 1 if dtype == torch.float64 else 5  # finite differences take long
        return arguments(spatial_dims, dtype, channels=channels)

    def empty(self, spatial_dims):
        return arguments(spatial_dims, count=0)

    def drawn(self, draw, spatial_dims):
        """Channels beside whole vectors, boxes anywhere, cells of any number; or no boxes."""
        random = torch.Generator().manual_seed(draw(integers(0, 9)))
        shape, output, stride = (
            [draw(sizes) for _ in range(spatial_dims)]
            for sizes in (integers(1, 6), integers(1, 4), floats(0.5, 8))
        )
        channels = draw(sampled_from([1, 3, 8, 16, 17, 33, 70]))
        batch, count = draw(integers(1, 3)), draw(integers(0, 9))
        maps = torch.randn(batch, channels, *shape, generator=random)
        boxes = 80 * torch.rand(count, 2 * spatial_dims, generator=random) - 20
        index = torch.randint(batch, (count,), generator=random)
        return maps, Rois(boxes, index, tuple(output), tuple(stride), draw(integers(1, 3)))

    def operations(self, maps, rois):
        boxes, index, output, stride, samples = rois
        how = boxes, index, list(output), list(stride), samples
        return [
            (torch.ops.microtome.roi_align, (maps, *how, False)),
            (torch.ops.microtome.roi_align, (maps.movedim(1, -1).contiguous(), *how, True)),
        ]


def torchvision_roi_align(maps, rois):
    boxes = torch.cat([rois.image_index[:, None], rois.boxes[:, [1, 0, 3, 2]]], 1).to(maps)
    return torchvision.ops.roi_align(
        maps, boxes, rois.output, 1 / rois.stride[0], rois.samples, True
    )


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("output", [(7, 7), (1, 4)])
def test_in_two_dimensions_it_is_that_of_torchvision(backend, samples, output):
    maps, rois = arguments(2, count=40, channels=37, samples=samples)
    rois = replace(rois, stride=(4.0, 4.0), output=output)
    ours, theirs = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    a, b = roi_align(ours, *rois), torchvision_roi_align(theirs, rois)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    weights = torch.randn(a.shape, generator=torch.Generator().manual_seed(0))
    (a * weights).sum().backward()
    (b * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)


def by_grid_sample(maps, rois):
    """Sample positions written out, clamped to the border's centres, pooled; inside only."""
    dims, shape = maps.ndim - 2, maps.shape[2:]
    out = []
    for box, image in zip(rois.boxes, rois.image_index, strict=True):
        axes = []
        for axis in range(dims):
            low, high = box[axis] / rois.stride[axis], box[dims + axis] / rois.stride[axis]
            count = rois.output[axis] * rois.samples
            at = low + (high - low) * (torch.arange(count) + 0.5) / count  # pixel i: i to i + 1
            axes.append(at.clamp(0.5, shape[axis] - 0.5) / shape[axis] * 2 - 1)
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)
        sampled = F.grid_sample(maps[image][None], grid[None], align_corners=False)
        pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
        out.append(pool(sampled, rois.samples)[0])
    return torch.stack(out)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("samples", [1, 2])
def test_it_is_grid_sample_and_pooling(backend, dims, samples):
    maps, rois = arguments(dims, samples=samples, reach=0.0)
    torch.testing.assert_close(
        roi_align(maps, *rois), by_grid_sample(maps, rois), rtol=1e-4, atol=1e-4
    )


def test_an_image_is_a_volume_of_one_layer(backend):
    maps, rois = arguments(2)
    low, high = rois.boxes.chunk(2, 1)
    zero = torch.zeros(len(low), 1)
    deep = Rois(
        torch.cat([zero, low, zero + 1, high], 1),
        rois.image_index,
        (1, *rois.output),
        (1, *rois.stride),
    )
    torch.testing.assert_close(roi_align(maps[:, :, None], *deep)[:, :, 0], roi_align(maps, *rois))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_constant_stays_and_a_ramp_gives_the_cells_centres(backend, dims):
    shape, stride = SHAPES[dims], (2.0,) * dims
    ramp = torch.arange(shape[-1]) + 0.5
    maps = torch.stack([torch.ones(shape), ramp.expand(shape)])[None]
    image = torch.tensor(shape) * 2.0
    box = torch.cat([image * 0.25, image * 0.75])[None]
    out = roi_align(maps, box, torch.zeros(1, dtype=torch.long), (2,) * dims, stride)[0]
    torch.testing.assert_close(out[0], torch.ones_like(out[0]))
    expected = shape[-1] * torch.tensor([0.375, 0.625])
    torch.testing.assert_close(out[1], expected.expand_as(out[1]))


def test_what_lies_more_than_a_pixel_beyond_is_zero(backend):
    maps = torch.ones(1, 3, 6, 8)
    index = torch.zeros(2, dtype=torch.long)
    boxes = torch.tensor([[-40.0, 0, -20, 20], [0.0, 60, 10, 90]])
    assert roi_align(maps, boxes, index, (2, 2), 4.0).eq(0).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_channels_last_stays_and_gives_the_same(backend, dims):
    maps, rois = arguments(dims, channels=20)
    last = {2: torch.channels_last, 3: torch.channels_last_3d}[dims]
    leaf = maps.to(memory_format=last).requires_grad_()
    out = roi_align(leaf, *rois)
    assert out.is_contiguous(memory_format=last) and roi_align(maps, *rois).is_contiguous()
    torch.testing.assert_close(out, roi_align(maps, *rois))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_no_images_and_no_boxes(backend, dims):
    maps, rois = arguments(dims, batch=0, count=0)
    assert roi_align(maps, *rois).shape == (0, 5, *OUTPUTS[dims])


def test_boxes_may_be_strided_and_the_index_of_any_integers(backend):
    maps, rois = arguments(2)
    same = replace(rois, boxes=rois.boxes.T.contiguous().T, image_index=rois.image_index.int())
    assert roi_align(maps, *same).equal(roi_align(maps, *rois))


@pytest.mark.parametrize("index", [-1, 2])
def test_an_image_that_does_not_exist_is_an_error(backend, index):
    maps, rois = arguments(2)
    with pytest.raises((IndexError, RuntimeError, ValueError), match=r"index|image"):
        roi_align(maps, *replace(rois, image_index=torch.full((7,), index)))


@pytest.mark.parametrize("place", [torch.nan, torch.inf])
def test_a_box_that_is_not_finite_is_an_error(backend, place):
    maps, rois = arguments(2)
    rois.boxes[3, 2] = place
    with pytest.raises(RuntimeError, match="a box is not finite"):
        roi_align(maps, *rois)


@pytest.mark.parametrize("stride", [0.0, -4.0, torch.nan, torch.inf, (4.0, 0.0)])
def test_strides_are_above_zero_and_finite(stride):
    maps, rois = arguments(2)
    with pytest.raises(ValueError, match="strides are above 0 and finite, got"):
        roi_align(maps, *replace(rois, stride=stride))


def test_boxes_get_no_gradient(backend):
    maps, rois = arguments(2)
    boxes = rois.boxes.requires_grad_()
    roi_align(maps.requires_grad_(), *rois).sum().backward()
    assert boxes.grad is None


def test_all_that_does_not_fit_is_listed():
    maps, rois = arguments(2)
    wrong = r"boxes of 2 axes are \[N, 4\], got \[7, 6\]; image_index is \[7\], integers, got \[6\]"
    with pytest.raises(ValueError, match=wrong):
        roi_align(maps, rois.boxes[:, [0, 1, 2, 3, 0, 1]], rois.image_index[1:], (2, 2), 4.0)
    with pytest.raises(
        ValueError, match=r"must be float32.*output is 2 sizes.*samples is at least"
    ):
        roi_align(maps, rois.boxes.half(), rois.image_index, (2,), 4.0, 0)
    with pytest.raises(ValueError, match="expected 1 or 2 values, got 3"):
        roi_align(maps, *replace(rois, stride=(1.0, 1.0, 1.0)))
    with pytest.raises(ValueError, match=r"maps are \[B, C, \*S\], floating point"):
        roi_align(maps.long(), *rois)


def test_it_is_one_graph_for_any_number_of_boxes(backend):
    torch.compiler.reset()
    compiled = torch.compile(roi_align, fullgraph=True, dynamic=True, backend="aot_eager")
    for count in (5, 9):
        maps, rois = arguments(1, count=count)
        torch.testing.assert_close(compiled(maps, *rois), roi_align(maps, *rois))


@pytest.mark.parametrize("count", [2, 60])
@pytest.mark.parametrize("last", [False, True])
def test_gradients_are_the_same_each_time(backend, count, last):
    """Few boxes and many, in either memory format: bit by bit."""
    maps, rois = arguments(2, count=count, channels=40)
    maps = maps.to(memory_format=torch.channels_last) if last else maps
    given = torch.randn(count, 40, *OUTPUTS[2], generator=torch.Generator().manual_seed(0))
    torch.use_deterministic_algorithms(True)
    try:
        leaf = maps.requires_grad_()
        first, second = (
            torch.autograd.grad(roi_align(leaf, *rois), leaf, given)[0] for _ in range(2)
        )
    finally:
        torch.use_deterministic_algorithms(False)
    assert first.equal(second)
    with using(roi_align="reference"):
        expected = torch.autograd.grad(roi_align(leaf, *rois), leaf, given)[0]
    torch.testing.assert_close(first, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("side", [2, 30])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_few_boxes_in_large_maps(backend, dims, side, count, dtype):
    """Small ones and large ones, of several images: only what they see needs to be looked at."""
    shape = (20, 40, 40)[-dims:]
    random = torch.Generator().manual_seed(dims)
    maps = torch.randn(2, 37, *shape, generator=random).to(dtype).requires_grad_()
    low = torch.rand(count, dims, generator=random) * (torch.tensor(shape) - side / 2)
    boxes, index = torch.cat([low, low + side], 1), torch.arange(count) % 2
    args = boxes, index, (7,) * dims, 1.0
    out = roi_align(maps, *args)
    given = torch.randn(out.shape, generator=random).to(dtype)
    with using(roi_align="reference"):
        expected = roi_align(maps, *args)
    near = 1e-4 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(out, expected, rtol=near, atol=near)
    ours, theirs = (torch.autograd.grad(x, maps, given)[0] for x in (out, expected))
    torch.testing.assert_close(ours, theirs, rtol=near, atol=near)


@pytest.mark.skipif(HERE["cpu"] != "", reason=HERE["cpu"])
def test_index_products_beyond_2_31_are_right():
    """The box at the end of maps of 2^31 values and more, which cost no memory until touched."""
    maps = torch.from_numpy(np.zeros((1, 9, 2**14, 2**14), np.float16))
    assert maps.numel() > 2**31
    maps[0, -1, -4:, -4:] = 1
    box = torch.tensor([[2.0**14 - 4] * 2 + [2.0**14] * 2])
    with torch.no_grad():
        out = roi_align(maps, box, torch.zeros(1, dtype=torch.long), (2, 2), 1.0)
    assert out[0, -1].eq(1).all() and out[0, :-1].eq(0).all()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gradients_are_rounded_once(backend, dims, dtype):
    maps, rois = arguments(dims, dtype, count=50)
    half, full = maps.clone().requires_grad_(), maps.float().requires_grad_()
    given = torch.randn(50, 5, *OUTPUTS[dims], generator=torch.Generator().manual_seed(0))
    ours = torch.autograd.grad(roi_align(half, *rois), half, given.to(dtype))[0]
    exact = torch.autograd.grad(roi_align(full, *rois), full, given.to(dtype).float())[0]
    torch.testing.assert_close(ours, exact.to(dtype), rtol=2**-7, atol=1e-3)


@pytest.mark.skipif(HERE["cpu"] != "", reason=HERE["cpu"])
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck
@pytest.mark.parametrize("last", [False, True])
def test_torch_finds_no_fault_in_the_operator(last):
    maps, rois = arguments(2)
    given = (maps.movedim(1, -1).contiguous() if last else maps).requires_grad_()
    boxes, index, output, stride, samples = rois
    args = given, boxes, index, list(output), list(stride), samples, last
    torch.library.opcheck(torch.ops.microtome.roi_align.default, args)


@pytest.mark.slow
@pytest.mark.skipif(HERE["cpu"] != "", reason=HERE["cpu"])
@pytest.mark.parametrize("layout", ["channels in front", "channels last, half precision"])
def test_maps_are_not_copied(layout):
    """Boxes in a volume of 64 MiB, in 16 MiB: 6 MiB of answers and what a thread needs."""
    code = f"""
import resource, torch
from microtome.ops.roi_align import roi_align
torch.set_num_threads(1)
maps = torch.zeros(1, 64, 16, 128, 128)
if "last" in "{layout}":
    maps = maps.bfloat16().repeat(1, 2, 1, 1, 1).contiguous(memory_format=torch.channels_last_3d)
low = torch.rand(64, 3) * torch.tensor([8.0, 64, 64])
boxes = torch.cat([low, low + torch.tensor([8.0, 32, 32])], 1)
index = torch.zeros(64, dtype=torch.long)
roi_align(maps, boxes[:1], index[:1], (7, 7, 7), 1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 16 * 2**20,) * 2)
assert roi_align(maps, boxes, index, (7, 7, 7), 1).eq(0).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
