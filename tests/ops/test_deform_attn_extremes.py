"""Deformable attention far outside, with what is not finite, on other sizes, on the largest."""

from math import prod

import numpy as np
import pytest
import torch
from deform_attn_arguments import CHANNELS, arguments, around

from microtome.ops import BACKENDS as KNOWN
from microtome.ops import using
from microtome.ops.deform_attn import BACKENDS, deform_attn, deform_attn_around


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("place", [9.0, -1e30])
def test_far_places_are_zero(dims, place):
    """In C++: no memory is touched, no gradients; what is at the border stays out, too."""
    if KNOWN["deform_attn"]["cpu"]:
        pytest.skip(KNOWN["deform_attn"]["cpu"])
    value, shapes, locations, weights = arguments(dims)
    value = torch.full_like(value, torch.inf).requires_grad_()
    out = deform_attn(value, shapes, torch.full_like(locations, place), weights)
    assert out.eq(0).all()
    assert torch.autograd.grad(out.sum(), value)[0].eq(0).all()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("form", ["locations", "around"])
@pytest.mark.parametrize("spoilt", ["places", "weights"])
@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_not_hidden(backend, dims, form, spoilt, number):
    """Though the sample lies beyond the border: the answer is nan, alone, and gradients are."""
    if KNOWN["deform_attn"][backend]:
        pytest.skip(KNOWN["deform_attn"][backend])
    value, shapes, locations, weights = arguments(dims)
    call, rest = deform_attn, [locations, weights]
    if form == "around":
        call = deform_attn_around
        *_, points, offsets, logits = around(arguments(dims))
        rest = [offsets, logits, points]
    if form == "around" and spoilt == "weights" and number == -torch.inf:
        return  # a logit that switches a sample off
    rest[0][0, 1, 0, 0, 0] = 99
    rest[spoilt == "weights"].view(*rest[1].shape, -1)[0, 1, 0, 0, 0, -1] = number
    leaves = [x.requires_grad_() for x in (value, *rest)]
    value, *tensors = leaves
    order = tensors if form == "locations" else [tensors[2], *tensors[:2]]

    def run(name):
        with using(deform_attn=name):
            out = call(value, shapes, *order)
            return out, *torch.autograd.grad(out.sum(), leaves)

    ours = run(backend)
    assert ours[0].isnan().sum() == CHANNELS and ours[0][0, 1, 0].isnan().all()
    for x, y in zip(ours, run("reference"), strict=True):
        torch.testing.assert_close(x, y, equal_nan=True, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("dims", [2, 3])
def test_an_infinite_weight_inside_is_not_hidden(backend, dims):
    """The answer is infinite, or nan where infinities of both signs meet; the others are finite."""
    if KNOWN["deform_attn"][backend]:
        pytest.skip(KNOWN["deform_attn"][backend])
    value, shapes, locations, weights = arguments(dims, reach=0.0)
    weights[0, 1, 0, 0, 0] = torch.inf
    with using(deform_attn=backend):
        out = deform_attn(value, shapes, locations, weights)
    assert (~out.isfinite()).nonzero()[:, :3].unique(dim=0).tolist() == [[0, 1, 0]]
    assert not out[0, 1, 0].isfinite().any()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_one_graph_serves_all_sizes(backend):
    """Dynamic shapes: other images and numbers of queries are not compiled again."""
    if KNOWN["deform_attn"][backend]:
        pytest.skip(KNOWN["deform_attn"][backend])
    compiled_times = []

    def count(graph, example):
        compiled_times.append(1)
        return graph

    torch.compiler.reset()
    call = torch.compile(deform_attn_around, fullgraph=True, dynamic=True, backend=count)
    with using(deform_attn=backend):
        for side in (8, 12, 20):
            shapes = ((side, side + 2), (side // 2, side // 2 + 1))
            queries = sum(prod(s) for s in shapes)
            value, offsets = torch.randn(2, queries, 2, 4), torch.randn(2, queries, 2, 2, 3, 2)
            args = value, shapes, torch.rand(1, queries, 2, 2), offsets, offsets[..., 0]
            torch.testing.assert_close(call(*args), deform_attn_around(*args))
    assert len(compiled_times) == 1


def test_the_answer_is_all_that_a_forward_pass_allocates():
    if KNOWN["deform_attn"]["cpu"]:
        pytest.skip(KNOWN["deform_attn"]["cpu"])
    args = arguments(2)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as seen:
        out = deform_attn(*args)
    allocated = sum(max(e.self_cpu_memory_usage, 0) for e in seen.key_averages())
    assert allocated == out.nbytes


def test_more_positions_than_fit_are_refused_with_a_reason():
    """Without the memory: places are counted in 32 bits, bytes in 64."""
    value, shapes, locations, weights = arguments(2)
    many = torch.empty(1, 2**31, 1, 1, device="meta")
    for backend in BACKENDS[:2]:
        told = backend.refusals(many, ((2**16, 2**15),), locations, weights)
        assert "2^31 positions, or a level without one" in told
        assert any(
            "a level without one" in r
            for r in backend.refusals(value, ((26, 1), (0, 3)), locations, weights)
        )
    assert not BACKENDS[1].refusals(value, shapes, locations, weights)


def test_products_beyond_2_31_are_right():
    """The last of 2^21 positions lies 5 GB into the value, which costs no memory until touched."""
    if KNOWN["deform_attn"]["cpu"]:
        pytest.skip(KNOWN["deform_attn"]["cpu"])
    value = torch.from_numpy(np.zeros((1, 2**21, 8, 160), np.float16))
    assert value.numel() > 2**31
    value[0, -1, -1] = torch.arange(160)
    centre = torch.tensor([1 - 0.5 / 2**11, 1 - 0.5 / 2**10]).expand(1, 1, 8, 1, 1, 2)
    out = deform_attn(value, ((2**11, 2**10),), centre, torch.ones(1, 1, 8, 1, 1))
    torch.testing.assert_close(out[0, 0, -1], value[0, -1, -1], rtol=1e-3, atol=0)
    assert out[0, 0, :-1].eq(0).all()
