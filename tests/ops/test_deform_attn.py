"""Deformable attention, against transformers in 2D and against plain loops in 3D."""

from itertools import product
from math import floor, prod

import pytest
import torch
from deform_attn_arguments import CHANNELS, HEADS, POINTS, QUERIES, arguments, around, drawn
from hypothesis.strategies import sampled_from
from torch.nn import functional as F
from transformers.models.mask2former.modeling_mask2former import multi_scale_deformable_attention

from microtome.ops import BACKENDS as KNOWN
from microtome.ops import Backend, using
from microtome.ops.deform_attn import BACKENDS, deform_attn, deform_attn_around, reference
from microtome.testing import OperatorContract


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
