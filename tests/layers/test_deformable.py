"""The layer around deformable attention, against transformers and the original's beginning."""

import pytest
import torch
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention as Theirs,
)

from microtome.layers.deformable import DeformableAttention, flip_offset_rows

SHAPES = {2: ((4, 5), (2, 3)), 3: ((2, 3, 4), (1, 2, 1))}


def small(dims, queries=5):
    torch.manual_seed(dims)
    layer = DeformableAttention(16, 2, dims, num_heads=4)
    for part in (layer.sampling_offsets, layer.attention_weights):
        torch.nn.init.normal_(part.weight)
    query, value = torch.randn(2, queries, 16), torch.randn(2, 26, 16)
    return layer, query, torch.rand(2, queries, 2, dims), value


@pytest.mark.parametrize("padded", [False, True])
def test_in_two_dimensions_it_is_that_of_transformers(padded):
    """Not even the bias of the values' projection comes from padding."""
    layer, query, reference, value = small(2)
    torch.nn.init.normal_(layer.value_proj.bias)
    padding = torch.rand(2, 26, generator=torch.Generator().manual_seed(0)) < 0.3
    theirs = Theirs(16, 4, n_levels=2, n_points=4)
    state = layer.state_dict()
    for key in ("sampling_offsets.weight", "sampling_offsets.bias"):
        state[key] = flip_offset_rows(state[key])
    theirs.load_state_dict(state)
    expected, _ = theirs(
        query,
        attention_mask=padding if padded else None,
        encoder_hidden_states=value,
        reference_points=reference.flip(-1),
        spatial_shapes_list=list(SHAPES[2]),
    )
    ours = layer(query, reference, value, SHAPES[2], ~padding if padded else None)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_flipping_twice_is_nothing():
    rows = torch.arange(12.0)
    assert flip_offset_rows(rows)[:4].tolist() == [1, 0, 3, 2]
    assert flip_offset_rows(rows, 3)[:3].tolist() == [2, 1, 0]
    assert flip_offset_rows(flip_offset_rows(rows, 3), 3).equal(rows)


def test_it_begins_as_the_original():
    """Eight rays from x over y, a pixel further out with every point (Zhu et al.'s code)."""
    bias = DeformableAttention(16, 2, 2, num_heads=8).sampling_offsets.bias.view(8, 2, 4, 2)
    rays = [[0, 1], [1, 1], [1, 0], [1, -1], [0, -1], [-1, -1], [-1, 0], [-1, 1]]  # y, x
    expected = torch.tensor(rays)[:, None, None] * torch.arange(1, 5)[:, None]
    torch.testing.assert_close(bias, expected.expand(8, 2, 4, 2).float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_at_first_rays_differ_and_balance(dims):
    layer = DeformableAttention(16, 1, dims, num_heads=8, num_points=1)
    rays = layer.sampling_offsets.bias.detach().view(8, dims)
    assert len(rays.mul(4).round().unique(dim=0)) == 8
    assert rays.sum(0).abs().max() < 1e-4
    torch.testing.assert_close(rays.abs().amax(1), torch.ones(8))


@pytest.mark.parametrize("dims", [2, 3])
def test_one_reference_serves_all_levels_and_images(dims):
    layer, query, reference, _ = small(dims)
    shapes = SHAPES[dims]
    value = torch.randn(2, sum(torch.Size(s).numel() for s in shapes), 16)
    shared = reference[:1, :, 0]
    everywhere = shared[:, :, None].expand(2, -1, 2, -1)
    ours = layer(query, shared, value, shapes)
    torch.testing.assert_close(ours, layer(query, everywhere, value, shapes))


@pytest.mark.parametrize("dims", [2, 3])
def test_around_a_box_offsets_are_in_its_half_sides(dims):
    """The last of four points, 4 / 4 of half a side from the centre, lies on the box's border."""
    shape = (8, 16, 4)[:dims]
    layer = DeformableAttention(4, 1, dims, num_heads=1, num_points=4)
    with torch.no_grad():
        layer.sampling_offsets.bias.view(4, dims)[:] = torch.arange(1.0, 5)[:, None]
        layer.attention_weights.bias.copy_(torch.tensor([-50.0, -50, -50, 50]))  # the last only
        for part in (layer.value_proj, layer.output_proj):
            part.weight.copy_(torch.eye(4))
    grid = torch.stack(torch.meshgrid(*[torch.arange(s) + 0.5 for s in shape], indexing="ij"), -1)
    value = torch.nn.functional.pad(grid.flatten(0, -2), (0, 4 - dims))[None]
    boxes = torch.tensor([[[0.5] * dims + [0.25] * dims]])
    found = layer(torch.zeros(1, 1, 4), boxes, value, [shape])[0, 0, :dims]
    torch.testing.assert_close(found, 0.625 * torch.tensor(shape))


def test_places_stay_exact_under_autocast(monkeypatch):
    seen = []
    name = "microtome.layers.deformable.deform_attn_around"
    monkeypatch.setattr(name, lambda v, s, near, at, w: seen.append((at, v)) or v[:, :5])
    layer, query, reference, value = small(2)
    with torch.autocast("cpu", torch.bfloat16):
        layer(query, reference, value, SHAPES[2])
    layer(query, reference, value, SHAPES[2])
    (under, values), (without, _) = seen
    assert under.dtype == torch.float32 and values.dtype == torch.bfloat16
    torch.testing.assert_close(under, without)


def test_shapes_can_be_asked_for_without_memory():
    with torch.device("meta"):
        layer, query, reference, value = small(2)
        assert layer(query, reference, value, SHAPES[2]).shape == (2, 5, 16)


def test_heads_must_divide_channels():
    with pytest.raises(ValueError, match="3 heads do not divide 16 channels"):
        DeformableAttention(16, 1, 2, num_heads=3)
