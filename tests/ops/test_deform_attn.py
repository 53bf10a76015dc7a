"""Deformable attention, against transformers in 2D and against plain loops in 3D."""

from itertools import product
from math import floor, prod

import numpy as np
import pytest
import torch
from hypothesis.strategies import integers, sampled_from
from torch.nn import functional as F
from transformers.models.mask2former.modeling_mask2former import multi_scale_deformable_attention

from microtome.ops import BACKENDS as KNOWN
from microtome.ops import Backend, using
from microtome.ops.deform_attn import BACKENDS, deform_attn, deform_attn_around, reference
from microtome.testing import OperatorContract

SHAPES = {1: ((5,), (3,)), 2: ((4, 5), (2, 3)), 3: ((2, 3, 4), (1, 2, 2))}
HEADS, CHANNELS, QUERIES, POINTS = 2, 3, 3, 2


def arguments(dims, dtype=torch.float32, queries=QUERIES, batch=2, reach=0.3):
    """Random ones; `reach` is how far beyond the borders samples may lie."""
    generator = torch.Generator().manual_seed(dims)
    shapes = SHAPES[dims]
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    sizes = (batch, queries, HEADS, len(shapes), POINTS)
    count = sum(prod(s) for s in shapes)
    value = torch.randn(batch, count, HEADS, CHANNELS, generator=generator, dtype=torch.float64)
    places = torch.rand(*sizes, dims, generator=generator, dtype=torch.float64)
    weights = torch.rand(*sizes, generator=generator, dtype=torch.float64)
    locations = (places * (1 + 2 * reach) - reach).to(exact)
    return value.to(dtype), shapes, locations, weights.to(dtype)


class TestDeformAttn(OperatorContract):
    name = "deform_attn"
    backends = BACKENDS

    def call(self, *args):
        return deform_attn(*args)

    def make(self, spatial_dims, dtype):
        return arguments(spatial_dims, dtype)

    def empty(self, spatial_dims):
        return arguments(spatial_dims, queries=0)

    def drawn(self, draw, spatial_dims):
        return drawn(draw, spatial_dims)

    def operations(self, value, shapes, locations, weights):
        flat = [side for shape in shapes for side in shape]
        return [(torch.ops.microtome.deform_attn, (value, flat, locations, weights, None))]


def drawn(draw, dims):
    """Sizes from nothing on, channels beside whole vectors, samples anywhere."""
    count = integers(0, 3)
    levels = draw(integers(1, 3))
    shapes = tuple(tuple(draw(integers(1, 5)) for _ in range(dims)) for _ in range(levels))
    sizes = (draw(count), draw(count), draw(integers(1, 3)), levels, draw(integers(1, 6)))
    channels = draw(sampled_from([0, 1, 3, 8, 16, 17, 32, 40, 64, 100]))
    random = torch.Generator().manual_seed(draw(integers(0, 9)))
    value = torch.randn(
        sizes[0], sum(prod(s) for s in shapes), sizes[2], channels, generator=random
    )
    locations = 2 * torch.rand(*sizes, dims, generator=random) - 0.5
    return value, shapes, locations, torch.randn(sizes, generator=random)


class TestDeformAttnAround(TestDeformAttn):
    """The fused form."""

    def call(self, *args):
        return deform_attn_around(*args)

    def reasons(self, backend, value, shapes, points, offsets, logits):
        return backend.reasons(value, shapes, offsets, logits, points)

    def make(self, spatial_dims, dtype):
        return around(arguments(spatial_dims, dtype))

    def empty(self, spatial_dims):
        return around(arguments(spatial_dims, queries=0))

    def drawn(self, draw, spatial_dims):
        args = drawn(draw, spatial_dims)
        return around(args, batch=draw(sampled_from([1, len(args[0])])) or 1)

    def operations(self, value, shapes, points, offsets, logits):
        flat = [side for shape in shapes for side in shape]
        return [(torch.ops.microtome.deform_attn, (value, flat, offsets, logits, points))]


def around(args, batch=1):
    """Arguments of the fused form: offsets of a few pixels around points that the batch shares."""
    value, shapes, locations, weights = args
    points = locations[:batch, :, 0, :, 0].clamp(0, 1)
    if not len(value):  # nothing to take them from
        points = locations.new_zeros(batch, *points.shape[1:])
    return value, shapes, points, 3 * locations - 1, 4 * weights


def test_the_fused_form_is_locations_and_softmax():
    value, shapes, points, offsets, logits = around(arguments(2), batch=2)
    locations = points[:, :, None, :, None] + offsets / torch.tensor(shapes)[:, None]
    weights = logits.flatten(3).softmax(3).view(logits.shape)
    expected = deform_attn(value, shapes, locations, weights)
    torch.testing.assert_close(deform_attn_around(*around(arguments(2), batch=2)), expected)


@pytest.mark.parametrize("reach", [0.0, 0.5])
def test_in_two_dimensions_it_is_that_of_transformers(reach):
    value, shapes, locations, weights = arguments(2, reach=reach)
    theirs = multi_scale_deformable_attention(value, list(shapes), locations.flip(-1), weights)
    ours = deform_attn(value, shapes, locations, weights)
    torch.testing.assert_close(ours.flatten(2), theirs, rtol=1e-5, atol=1e-5)


def by_loops(value, shapes, locations, weights):
    """The definition, one corner of one sample after the other."""
    out = torch.zeros(*locations.shape[:3], value.shape[3], dtype=value.dtype)
    starts = [sum(prod(s) for s in shapes[:level]) for level in range(len(shapes))]
    for index in product(*map(range, locations.shape[:5])):
        batch, query, head, level, _ = index
        shape = shapes[level]
        pixel = [p * s - 0.5 for p, s in zip(locations[index].tolist(), shape, strict=True)]
        for corner in product((0, 1), repeat=len(shape)):
            cell = [floor(x) + c for x, c in zip(pixel, corner, strict=True)]
            if all(0 <= c < s for c, s in zip(cell, shape, strict=True)):
                share = prod(1 - abs(x - c) for x, c in zip(pixel, cell, strict=True))
                row = 0
                for c, s in zip(cell, shape, strict=True):
                    row = row * s + c
                seen = value[batch, starts[level] + row, head]
                out[batch, query, head] += weights[index] * share * seen
    return out


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_it_is_what_loops_compute(dims):
    args = arguments(dims, torch.float64)
    torch.testing.assert_close(deform_attn(*args), by_loops(*args))


def test_an_image_is_a_volume_of_one_layer():
    value, shapes, locations, weights = arguments(2)
    deep = torch.cat([torch.full_like(locations[..., :1], 0.5), locations], -1)
    volume = deform_attn(value, [(1, *s) for s in shapes], deep, weights)
    torch.testing.assert_close(volume, deform_attn(value, shapes, locations, weights))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_samples_beyond_the_borders_are_zero(dims):
    value, shapes, locations, weights = arguments(dims)
    assert deform_attn(value, shapes, locations + 9, weights).eq(0).all()


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_centres_are_sampled_exactly(dims):
    """One level, one point per query at the centre of a cell: the value itself."""
    shape = (2, 3, 4)[-dims:]
    value = torch.randn(1, prod(shape), 1, 5)
    cells = torch.cartesian_prod(*[(torch.arange(s) + 0.5) / s for s in shape])
    locations = cells.view(1, -1, 1, 1, 1, dims)
    out = deform_attn(value, [shape], locations, torch.ones(locations.shape[:5]))
    torch.testing.assert_close(out, value, rtol=1e-5, atol=1e-5)


def test_bfloat16_coordinates_are_half_a_pixel_off_and_refused():
    """From 128 to 256 pixels bfloat16 has a step per pixel border; centres lie between them."""
    ramp = torch.arange(256.0).view(1, 256, 1, 1)  # the value is the place
    centres = torch.arange(128.0, 255)
    locations = ((centres + 0.5) / 256).view(1, -1, 1, 1, 1, 1)
    weights = torch.ones(locations.shape[:5])
    right = deform_attn(ramp, [(256,)], locations, weights).flatten()
    torch.testing.assert_close(right, centres)
    rounded = deform_attn(ramp, [(256,)], locations.bfloat16().float(), weights).flatten()
    torch.testing.assert_close((rounded - right).abs()[:-1], torch.full((126,), 0.5))
    with pytest.raises(ValueError, match=r"must be float32 or float64, got torch\.bfloat16"):
        deform_attn(ramp, [(256,)], locations.bfloat16(), weights)


def test_all_that_does_not_fit_is_listed():
    value, shapes, locations, weights = arguments(2)
    with pytest.raises(ValueError, match=r"2 levels .*shapes are \[\(4, 5\)\]; .*not add up to 26"):
        deform_attn(value, shapes[:1], locations, weights)
    with pytest.raises(ValueError, match=r"weights are \[2, 3, 2, 2, 2\], got \[2, 3, 2, 2\]"):
        deform_attn(value, shapes, locations, weights[..., 0])
    with pytest.raises(ValueError, match=r"sizes of levels are at least 1, got \[\(-4, -5\)"):
        deform_attn(value, [(-4, -5), shapes[1]], locations, weights)
    with pytest.raises(ValueError, match="batch 2 and 2 heads"):
        deform_attn(value[:1], shapes, locations, weights)
    with pytest.raises(ValueError, match=r"value is \[B, N, H, C\]"):
        deform_attn(value[0], shapes, locations, weights)


def test_four_axes_are_refused_by_the_backend():
    locations = torch.rand(1, 1, 1, 1, 1, 4)
    with pytest.raises(ValueError, match=r"no backend.*reference: 4 axes are more than 3"):
        deform_attn(torch.rand(1, 1, 1, 1), [(1,) * 4], locations, torch.ones(1, 1, 1, 1, 1))


def test_a_choice_holds_inside_only():
    args = arguments(2)
    with pytest.raises(ValueError, match="no backend"), using(deform_attn="gpu"):
        deform_attn(*args)
    deform_attn(*args)


def test_the_contract_sees_a_wrong_backend(monkeypatch):
    """A backend that is a little off in values or gradients does not pass."""

    class Wrong(TestDeformAttn):
        backends = (
            Backend(
                "wrong",
                lambda *args: reference.run(*args) * 1.001,
                reference.refusals,
                {torch.float32: 1e-5},
            ),
            *BACKENDS,
        )

    monkeypatch.setattr("microtome.ops.deform_attn.BACKENDS", Wrong.backends)
    with pytest.raises(AssertionError, match="not close"):
        Wrong().test_backends_agree_with_the_reference()


def test_doctor_knows_every_backend():
    assert {"deform_attn", "masks_to_boxes", "nms", "point_sample", "roi_align"} <= set(KNOWN)
    assert set(KNOWN["deform_attn"]) == {"gpu", "cpu", "reference"}


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


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("reach", [0.0, 0.5])
def test_it_is_a_composition_of_grid_sample(dims, reach):
    """As transformers composes it in two dimensions: level by level, a batch of heads."""
    value, shapes, locations, weights = arguments(dims, reach=reach)
    expected, start = 0, 0
    for level, shape in enumerate(shapes):
        part = value[:, start : start + prod(shape)].permute(0, 2, 3, 1)  # [B, H, C, N]
        start += prod(shape)
        grid = 2 * locations[:, :, :, level].transpose(1, 2).flip(-1) - 1  # [B, H, Q, P, D]
        grid = grid.flatten(0, 1).unflatten(1, (*[1] * (dims - 2), QUERIES))
        sampled = F.grid_sample(
            part.flatten(0, 1).unflatten(2, shape), grid, align_corners=False
        ).view(2, HEADS, CHANNELS, QUERIES, POINTS)
        expected = expected + torch.einsum("bhcqp,bqhp->bqhc", sampled, weights[:, :, :, level])
    torch.testing.assert_close(
        deform_attn(value, shapes, locations, weights), expected, rtol=1e-5, atol=1e-5
    )


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
