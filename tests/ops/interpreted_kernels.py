"""Triton kernels run by its interpreter on the CPU; test_gpu_kernels.py starts this file, with
TRITON_INTERPRET=1, in a process of its own: Triton reads it when it is first imported."""

import os

import numpy as np
import pytest
import test_deform_conv
import torch
from deform_attn_arguments import arguments, around

from microtome.ops.deform_attn import launch
from microtome.ops.deform_attn import reference as attention
from microtome.ops.deform_attn.gpu import tolerance
from microtome.ops.deform_conv import gpu as convolution_on_gpu
from microtome.ops.deform_conv import reference as convolution

assert os.environ.get("TRITON_INTERPRET") == "1"
DIMS = pytest.mark.parametrize("dims", [2, 3])


def attending(dims, kind, dtype=torch.float32, **sizes):
    """Samples for the kernels, and the definition of the same from value, places, weights."""
    value, shapes, places, weights = arguments(dims, dtype, **sizes)
    points = None
    if kind != "locations":
        batch = 2 if kind == "around each" else 1
        args = around((value, shapes, places, weights), batch)
        points, places, weights = args[2:]
    flat = [side for shape in shapes for side in shape]
    samples = launch.Samples(value, flat, places, weights, points, softmax=points is not None)
    return samples, lambda v, p, w: attention.run(v, shapes, p, w, points)


def convolving(dims, softmax, dtype=torch.float32):
    """The same of a convolution with different sides on each axis; pixels lie in a row."""
    sides = {"stride": (1, 2, 1)[:dims], "padding": (1, 0, 2)[:dims], "dilation": (1, 1, 2)[:dims]}
    value, offsets, modulation, lattice = test_deform_conv.arguments(dims, dtype, **sides)
    samples = convolution_on_gpu.samples(value, offsets, modulation, lattice, softmax)

    def define(v, p, w):
        out = convolution.run(
            v.view(value.shape), p.view(offsets.shape), w.view(modulation.shape), lattice, softmax
        )
        return out.flatten(1, dims)

    return samples, define


def agree(samples, define, dtype=torch.float32):
    """Values and every gradient."""
    inputs = samples.value, samples.places, samples.weights
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    expected = define(*leaves)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    theirs = torch.autograd.grad(expected, leaves, grad)
    ours = launch.forward(samples), *launch.backward(grad, samples)
    for x, y in zip(ours, (expected, *theirs), strict=True):
        assert x.dtype == y.dtype
        torch.testing.assert_close(x, y, rtol=tolerance[dtype], atol=tolerance[dtype])


@DIMS
@pytest.mark.parametrize("kind", ["locations", "around", "around each"])
def test_attention_agrees_with_the_reference(dims, kind):
    agree(*attending(dims, kind))


@DIMS
@pytest.mark.parametrize("softmax", [False, True])
def test_convolution_agrees_with_the_reference(dims, softmax):
    agree(*convolving(dims, softmax))


@pytest.mark.parametrize("dims, dtype", [(2, torch.bfloat16), (3, torch.float16)])
def test_half_precision_accumulates_in_float(dims, dtype):
    agree(*attending(dims, "around", dtype), dtype)
    agree(*convolving(dims, True, dtype), dtype)


@DIMS
def test_deterministic_sums_have_no_order(dims):
    """Integers: the queries the other way round give the same bits, and the reference's values."""
    samples, define = attending(dims, "locations", queries=9)
    turned = samples._replace(places=samples.places.flip(1), weights=samples.weights.flip(1))
    grad = torch.randn(*samples.places.shape[:3], samples.value.shape[3])
    torch.use_deterministic_algorithms(True)
    try:
        agree(samples, define)
        one = launch.backward(grad, samples)[0]
        other = launch.backward(grad.flip(1), turned)[0]
        with np.errstate(invalid="ignore"):
            broken = launch.backward(torch.full_like(grad, torch.nan), samples)[0]
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(one, other)
    assert broken.isnan().all()  # a gradient that is not finite is not hidden


@DIMS
def test_nothing_asked_nothing_answered(dims):
    samples, _ = attending(dims, "locations", queries=0)
    out, *gradients = launch.forward(samples), *launch.backward(launch.forward(samples), samples)
    assert out.numel() == 0 and all(g.eq(0).all() for g in gradients)


@DIMS
def test_far_places_are_zero(dims):
    samples, _ = attending(dims, "locations")
    for place in (9.0, -1e30):
        far = samples._replace(places=torch.full_like(samples.places, place))
        assert launch.forward(far).eq(0).all()
        assert launch.backward(launch.forward(far) + 1, far)[0].eq(0).all()


@DIMS
@pytest.mark.parametrize("kind", ["locations", "around"])
@pytest.mark.parametrize("spoilt", ["places", "weights"])
def test_what_is_not_finite_is_not_hidden(dims, kind, spoilt):
    """Though the sample lies beyond the border; the reference says so, too."""
    for number in (torch.nan, torch.inf):
        samples, define = attending(dims, kind)
        samples.places[0, 1, 0, 0, 0] = 9
        getattr(samples, spoilt).view(*samples.weights.shape, -1)[0, 1, 0, 0, 0, -1] = number
        leaves = [x.clone().requires_grad_() for x in (samples.value, *samples[2:4])]
        theirs = define(*leaves)
        with np.errstate(invalid="ignore"):
            ours = launch.forward(samples)
            back = launch.backward(torch.ones_like(ours), samples)
        assert ours[0, 1, 0].isnan().all()
        torch.testing.assert_close(ours, theirs, equal_nan=True, rtol=1e-4, atol=1e-4)
        grads = torch.autograd.grad(theirs.sum(), leaves)
        assert all(x.isnan().equal(y.isnan()) for x, y in zip(back, grads, strict=True))


def test_exact_sums_of_nothing():
    """No levels: there is nothing to weigh; `grad` is there all the same."""
    samples, _ = attending(2, "locations")
    none = samples._replace(
        places=samples.places[:, :, :, :0], weights=samples.weights[:, :, :, :0]
    )
    assert launch._scale(launch.forward(samples), none).isfinite()


@DIMS
def test_memory_layout_does_not_matter(dims):
    samples, _ = attending(dims, "locations")
    strided = samples._replace(value=samples.value.transpose(1, 3).contiguous().transpose(1, 3))
    assert torch.equal(launch.forward(strided), launch.forward(samples))
