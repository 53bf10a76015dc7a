"""Deformable convolution, against torchvision, a plain convolution and plain loops."""

from itertools import product
from math import floor, prod
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis.strategies import integers, sampled_from
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from microtome.ops.deform_conv import BACKENDS, Lattice, deform_conv
from microtome.testing import OperatorContract

SHAPES = {1: (6,), 2: (4, 5), 3: (2, 3, 3)}
KERNELS = {1: (3,), 2: (3, 2), 3: (1, 2, 2)}
GROUPS, CHANNELS = 2, 2


def arguments(dims, dtype=torch.float32, batch=2, **sides):
    """Random ones; offsets of about a pixel."""
    random = torch.Generator().manual_seed(dims)
    lattice = Lattice(
        KERNELS[dims],
        sides.get("stride", (1,) * dims),
        sides.get("padding", (1,) * dims),
        sides.get("dilation", (1,) * dims),
    )
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    taps = (batch, *lattice.output(SHAPES[dims]), GROUPS, prod(KERNELS[dims]))
    shape = (batch, *SHAPES[dims], GROUPS, CHANNELS)
    value = torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)
    offsets = torch.randn(*taps, dims, generator=random, dtype=torch.float64).to(exact)
    modulation = torch.randn(taps, generator=random, dtype=torch.float64).to(dtype)
    return value, offsets, modulation, lattice


class TestDeformConv(OperatorContract):
    name = "deform_conv"
    backends = BACKENDS
    softmax = False

    def call(self, value, offsets, modulation, lattice, softmax):
        sides = zip(("stride", "padding", "dilation"), lattice[1:], strict=True)
        return deform_conv(value, offsets, modulation, lattice[0], softmax=softmax, **dict(sides))

    def make(self, spatial_dims, dtype):
        *tensors, lattice = arguments(spatial_dims, dtype)
        return *tensors, tuple(lattice), self.softmax

    def empty(self, spatial_dims):
        *tensors, lattice = arguments(spatial_dims, batch=0)
        return *tensors, tuple(lattice), self.softmax

    def drawn(self, draw, spatial_dims):
        """Any sides of the kernel, channels beside whole vectors."""
        sides = [
            tuple(draw(integers(low, high)) for _ in range(spatial_dims))
            for low, high in ((1, 3), (1, 2), (0, 2), (1, 2))
        ]
        lattice = Lattice(*sides)
        shape = [draw(integers(5, 7)) for _ in range(spatial_dims)]
        groups, channels = draw(integers(1, 3)), draw(sampled_from([1, 3, 16, 20, 32]))
        batch = draw(integers(0, 2))
        random = torch.Generator().manual_seed(draw(integers(0, 9)))
        taps = (batch, *lattice.output(shape), groups, prod(lattice.kernel_size))
        value = torch.randn(batch, *shape, groups, channels, generator=random)
        offsets = 2 * torch.randn(*taps, spatial_dims, generator=random)
        modulation = torch.randn(taps, generator=random)
        return value, offsets, modulation, tuple(lattice), self.softmax

    def operations(self, value, offsets, modulation, lattice, softmax):
        arguments = value, offsets, modulation, *map(list, lattice), softmax
        return [(torch.ops.microtome.deform_conv, arguments)]


class TestDeformConvWithSoftmax(TestDeformConv):
    softmax = True


@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
@pytest.mark.parametrize("padding", [(0, 0), (2, 1)])
@pytest.mark.parametrize("dilation", [(1, 1), (1, 2)])
def test_in_two_dimensions_it_is_that_of_torchvision(stride, padding, dilation):
    """Its convolution of each channel by itself, with ones: the sum of modulated taps."""
    sides = {"stride": stride, "padding": padding, "dilation": dilation}
    value, offsets, modulation, lattice = arguments(2, **sides)
    channels = GROUPS * CHANNELS
    theirs = deform_conv2d(
        value.flatten(3).permute(0, 3, 1, 2),
        offsets.flatten(3).permute(0, 3, 1, 2),
        torch.ones(channels, 1, *lattice.kernel_size),
        mask=modulation.flatten(3).permute(0, 3, 1, 2),
        **sides,
    )
    ours = deform_conv(value, offsets, modulation, lattice.kernel_size, **sides)
    torch.testing.assert_close(ours.flatten(3).permute(0, 3, 1, 2), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name, stride, scale", [("plain", 1, 1), ("strided", 2, 1), ("scaled", 1, 2)]
)
def test_it_is_that_of_the_authors(name, stride, scale):
    """Values and gradients of `dcnv3_core_pytorch`, which counts taps and axes with x first.

    From github.com/OpenGVLab/InternImage (MIT), classification/ops_dcnv3/functions/dcnv3_func.py at
    commit 31c962dc6c1ceb23e580772f7daaa6944694fbe6, run by itself: for each case seed 0, then
    randn of the input [1, 7, 6, 6], randn of the offsets, softmax of randn over 9 taps of 2 groups,
    and randn to weight the answer; kernel 3, padding 1, offset_scale 1 or 2.
    """
    with np.load(Path(__file__).with_name("dcnv3.npz")) as file:
        saved = {key: torch.from_numpy(file[f"{name}/{key}"]) for key in FIXTURE}

    value = saved["value"].unflatten(-1, (GROUPS, 3)).requires_grad_()
    offsets = scale * taps_in_array_order(saved["offset"], 2).flip(-1)
    offsets.requires_grad_()
    modulation = taps_in_array_order(saved["mask"])[..., 0].requires_grad_()
    out = deform_conv(
        value, offsets, modulation, 3, stride=stride, padding=scale, dilation=scale
    ).flatten(3)
    torch.testing.assert_close(out, saved["out"], rtol=1e-5, atol=1e-5)
    grads = torch.autograd.grad((out * saved["weight"]).sum(), (value, offsets, modulation))
    theirs = (
        saved["grad_value"].unflatten(-1, (GROUPS, 3)),
        taps_in_array_order(saved["grad_offset"], 2).flip(-1) / scale,
        taps_in_array_order(saved["grad_mask"])[..., 0],
    )
    torch.testing.assert_close(grads, theirs, rtol=1e-4, atol=1e-4)


FIXTURE = ("value", "offset", "mask", "out", "weight", "grad_value", "grad_offset", "grad_mask")


def taps_in_array_order(taps, last=1):
    """[..., G * 3 * 3 * last] with the taps' x first -> [..., G, 9, last] with y first."""
    return taps.unflatten(-1, (GROUPS, 3, 3, last)).transpose(-3, -2).flatten(-3, -2)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_without_offsets_it_is_a_convolution(dims):
    """With the same modulation everywhere, of each channel by itself."""
    value, offsets, _, lattice = arguments(dims, padding=(1,) * dims, stride=(2,) * dims)
    kernel = torch.randn(prod(lattice.kernel_size))
    ours = deform_conv(
        value,
        0 * offsets,
        kernel.expand(offsets.shape[:-1]),
        lattice.kernel_size,
        stride=2,
        padding=1,
    )
    channels = GROUPS * CHANNELS
    theirs = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[dims](
        value.flatten(dims + 1).movedim(-1, 1),
        kernel.view(1, 1, *lattice.kernel_size).expand(channels, 1, *lattice.kernel_size),
        stride=2,
        padding=1,
        groups=channels,
    )
    assert ours.shape[1:-2] == lattice.output(SHAPES[dims])
    torch.testing.assert_close(ours.flatten(dims + 1).movedim(-1, 1), theirs)


def by_loops(value, offsets, modulation, lattice):
    """The definition, one corner of one tap after the other."""
    shape, channels = value.shape[1:-2], value.shape[-1]
    out = torch.zeros(*offsets.shape[:-2], channels, dtype=value.dtype)
    taps = list(product(*map(range, lattice.kernel_size)))
    for index in product(*map(range, modulation.shape)):
        b, *place, group, k = index
        moved = offsets[index].tolist()
        pixel = [
            o * s - p + t * d + m
            for o, s, p, t, d, m in zip(
                place, *lattice[1:3], taps[k], lattice[3], moved, strict=True
            )
        ]
        for corner in product((0, 1), repeat=len(shape)):
            cell = [floor(x) + c for x, c in zip(pixel, corner, strict=True)]
            if all(0 <= c < s for c, s in zip(cell, shape, strict=True)):
                share = prod(1 - abs(x - c) for x, c in zip(pixel, cell, strict=True))
                out[(b, *place, group)] += modulation[index] * share * value[(b, *cell, group)]
    return out


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_it_is_what_loops_compute(dims):
    sides = {"stride": (2, 1, 1)[:dims], "padding": (1, 0, 2)[:dims], "dilation": (1, 2, 1)[:dims]}
    value, offsets, modulation, lattice = arguments(dims, torch.float64, **sides)
    ours = deform_conv(value, offsets, modulation, lattice.kernel_size, **sides)
    torch.testing.assert_close(ours, by_loops(value, offsets, modulation, lattice))


def test_softmax_is_over_the_taps():
    value, offsets, modulation, lattice = arguments(2)
    whole = deform_conv(value, offsets, modulation, lattice.kernel_size, padding=1, softmax=True)
    by_hand = deform_conv(value, offsets, modulation.softmax(-1), lattice.kernel_size, padding=1)
    torch.testing.assert_close(whole, by_hand)


def test_an_image_is_a_volume_of_one_layer():
    value, offsets, modulation, lattice = arguments(2)
    deep = torch.cat([torch.zeros_like(offsets[..., :1]), offsets], -1)
    volume = deform_conv(
        value[:, None], deep[:, None], modulation[:, None], (1, 3, 2), padding=(0, 1, 1)
    )
    flat = deform_conv(value, offsets, modulation, lattice.kernel_size, padding=1)
    torch.testing.assert_close(volume[:, 0], flat)


def test_all_that_does_not_fit_is_listed():
    value, offsets, modulation, _ = arguments(2)
    with pytest.raises(ValueError, match=r"offsets are \[2, 2, 4, 2, 6, 2\].*; modulation is"):
        deform_conv(value, offsets, modulation, (3, 2))
    with pytest.raises(ValueError, match=r"float32 or float64, got torch\.bfloat16"):
        deform_conv(value, offsets.bfloat16(), modulation, (3, 2), padding=1)
    with pytest.raises(ValueError, match="larger than the padded value"):
        deform_conv(value, offsets, modulation, (9, 9))
    with pytest.raises(ValueError, match="at least 1, padding 0"):
        deform_conv(value, offsets, modulation, (3, 2), stride=0)
    with pytest.raises(ValueError, match=r"value is \[B, \*S, G, C\]"):
        deform_conv(value[0, 0], offsets, modulation, (3, 2))
