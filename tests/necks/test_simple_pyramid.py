"""A pyramid out of one map: the composition that ViTDet describes, in any number of axes."""

import pytest
import torch
from torch import nn

from microtome.necks.simple_pyramid import SimplePyramid
from microtome.structures import PyramidSpec
from microtome.testing.checks import assert_close, compiled, rebuilt, without_gradient

AXES = {
    2: (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d),
    3: (nn.Conv3d, nn.ConvTranspose3d, nn.MaxPool3d),
}


def one_map(patch, channels=16):
    return PyramidSpec((channels,), (tuple(float(p) for p in patch),), patch)


class Last(nn.Module):
    """Layer norm over the channels of maps, spelled out."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        shape = [1, -1, *[1] * (x.ndim - 2)]
        mean, spread = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
        scaled = (x - mean) / (spread + 1e-6).sqrt()
        return scaled * self.layer.weight.view(shape) + self.layer.bias.view(shape)


def plain(level, dims, factor):
    """One level out of PyTorch's own layers, with the weights of ours."""
    conv, transposed, pool = AXES[dims]
    norms = iter(m for m in level.modules() if isinstance(m, nn.LayerNorm))
    ups = iter(m for m in level.modules() if isinstance(m, transposed))
    convs = iter(m for m in level.modules() if isinstance(m, conv))
    layers = []
    if factor == 4:
        layers += [next(ups), Last(next(norms)), nn.GELU(), next(ups)]
    if factor == 2:
        layers += [next(ups)]
    if factor == 0.5:
        layers += [pool(2, 2)]
    layers += [next(convs), Last(next(norms)), next(convs), Last(next(norms))]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("dims", [2, 3])
def test_it_is_the_plain_composition(dims):
    torch.manual_seed(0)
    neck = SimplePyramid(one_map((16,) * dims), 12).double()
    x = torch.randn(2, 16, *(4, 6, 2)[:dims], dtype=torch.float64)
    for found, level, factor in zip(neck((x,)), neck.levels, (4, 2, 1, 0.5), strict=True):
        torch.testing.assert_close(found, plain(level, dims, factor)(x), rtol=1e-9, atol=1e-9)
    convs = [m for m in neck.levels[0].modules() if isinstance(m, AXES[dims][0])]
    assert [c.kernel_size[0] for c in convs] == [1, 3]
    assert [c.in_channels for c in convs] == [4, 12]


@pytest.mark.parametrize(
    "patch, factors, strides",
    [
        ((16, 16), (4, 2, 1, 0.5), ((4, 4), (8, 8), (16, 16), (32, 32))),
        ((14, 14), (4, 1), ((3.5, 3.5), (14, 14))),
        ((2, 8, 8), ([1, 4, 4], [1, 2, 2], 1), ((2, 2, 2), (2, 4, 4), (2, 8, 8))),
        ((2, 8, 8), ([2, 4, 4], 2, [1, 0.5, 0.5]), ((1, 2, 2), (1, 4, 4), (2, 16, 16))),
    ],
)
def test_it_keeps_what_it_promises(patch, factors, strides):
    neck = SimplePyramid(one_map(patch), 8, factors)
    assert neck.spec.strides == strides and neck.spec.channels == (8,) * len(strides)
    canvas = [2 * m for m in neck.spec.multiple]
    shape = [c // p for c, p in zip(canvas, patch, strict=True)]
    x = torch.randn(2, 16, *shape)
    maps = neck((torch.zeros(2, 3, 1), x))
    for found, stride in zip(maps, strides, strict=True):
        assert [n * s for n, s in zip(found.shape[2:], stride, strict=True)] == canvas
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    assert without_gradient(neck) == []
    assert_close(rebuilt(neck)((x,)), maps, exact=True)


def test_it_is_one_graph():
    neck, x = SimplePyramid(one_map((4, 4, 4)), 8), torch.randn(1, 16, 2, 2, 2)
    assert_close(compiled(neck)((x,)), neck((x,)))


def test_other_factors_say_so():
    with pytest.raises(ValueError, match=r"factors 4, 2, 1 or 0\.5, got"):
        SimplePyramid(one_map((16, 16)), factors=(3, 1))
    with pytest.raises(ValueError, match="expected the finest level first"):
        SimplePyramid(one_map((16, 16)), factors=(1, 2))
