"""Feature pyramids: torchvision's in two dimensions, the same sums in three."""

import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from microtome.necks.fpn import FPN
from microtome.structures import PyramidSpec
from microtome.testing.checks import compiled, rebuilt, without_gradient


def backbone(dims, channels=(4, 6, 8), multiple=16):
    strides = tuple((float(4 * 2**i),) * dims for i in range(len(channels)))
    return PyramidSpec(channels, strides, (multiple,) * dims)


def maps(spec, shape, dtype=torch.float32):
    random = torch.Generator().manual_seed(0)
    sizes = [[int(n / s) for n, s in zip(shape, stride, strict=True)] for stride in spec.strides]
    pairs = zip(spec.channels, sizes, strict=True)
    return tuple(torch.randn(2, c, *size, generator=random, dtype=dtype) for c, size in pairs)


@pytest.mark.parametrize("extra", [0, 1])
def test_in_the_plane_it_is_torchvisions(extra):
    spec = backbone(2)
    theirs = FeaturePyramidNetwork([*spec.channels], 5, LastLevelMaxPool() if extra else None)
    ours = FPN(spec, 5, extra=extra)
    ours.load_state_dict(theirs.state_dict())
    pyramid = maps(spec, (48, 80), torch.float64)
    expected = theirs.double()({str(i): x for i, x in enumerate(pyramid)})
    for x, y in zip(ours.double()(pyramid), expected.values(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9)


def test_in_a_volume_each_level_sees_the_coarser_ones():
    spec = backbone(3, (2, 3))
    neck, (fine, coarse) = FPN(spec, 4), maps(spec, (16, 16, 24))
    side = [block[0] for block in neck.inner_blocks]
    out = [block[0] for block in neck.layer_blocks]
    top = F.conv3d(coarse, side[1].weight, side[1].bias)
    spread = top
    for axis in (2, 3, 4):
        spread = spread.repeat_interleave(2, axis)
    merged = F.conv3d(fine, side[0].weight, side[0].bias) + spread
    found = neck((fine, coarse))
    for x, layer, y in zip(found, out, (merged, top), strict=True):
        torch.testing.assert_close(x, F.conv3d(y, layer.weight, layer.bias, padding=1))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "levels, returned, extra",
    [(None, None, 0), ([1, 2], None, 2), ([0, 2], None, 1), ([0], [0], 0), (None, [0, 1], 1)],
)
def test_it_keeps_what_it_promises(dims, levels, returned, extra):
    spec = backbone(dims)
    neck = FPN(spec, 4, levels, returned, extra)
    canvas = [(axis + 1) * m for axis, m in enumerate(neck.spec.multiple)]
    pyramid = maps(spec, canvas)
    found = neck(pyramid)
    assert len(found) == len(neck.spec.channels) == len(returned or levels or range(3)) + extra
    for x, channels, stride in zip(found, neck.spec.channels, neck.spec.strides, strict=True):
        assert x.shape[1] == channels == 4
        assert [n * s for n, s in zip(x.shape[2:], stride, strict=True)] == canvas
    sum(x.square().sum() for x in found).backward()
    assert without_gradient(neck) == []
    twin = rebuilt(neck)
    assert all(x.equal(y) for x, y in zip(found, twin(pyramid), strict=True))


def test_it_is_one_graph():
    spec = backbone(3)
    neck, pyramid = FPN(spec, 4, extra=1), maps(spec, (32, 32, 32))
    for x, y in zip(neck(pyramid), compiled(neck)(pyramid), strict=True):
        torch.testing.assert_close(x, y)


def test_images_are_padded_for_the_coarsest_level_only_as_far_as_needed():
    assert FPN(backbone(2, multiple=16), extra=1).spec.multiple == (32, 32)
    assert FPN(backbone(2, multiple=64), extra=1).spec.multiple == (64, 64)
    thirds = backbone(2)._replace(strides=((3.5, 3.5), (7.0, 7.0), (14.0, 14.0)), multiple=(14, 14))
    assert FPN(thirds, extra=1).spec.multiple == (28, 28)


@pytest.mark.parametrize("levels", [[], [2, 1], [1, 1], [3], [-1]])
def test_levels_that_are_not_there_say_so(levels):
    with pytest.raises(ValueError, match=r"some of the levels \[0, 1, 2\], in order, got"):
        FPN(backbone(2), levels=levels)


def test_a_level_that_nothing_sees_is_refused():
    with pytest.raises(ValueError, match="level 0 goes in, but nothing that comes out sees it"):
        FPN(backbone(2), returned=[1, 2])
    with pytest.raises(ValueError, match=r"some of the levels \[0, 1\], in order, got \[2\]"):
        FPN(backbone(2), levels=[0, 1], returned=[2])
