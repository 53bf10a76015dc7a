"""Hiera: timm's in two and three dimensions, dropped mask units, any size."""

import pytest
import timm
import torch
import yaml
from timm.models.hiera import Hiera as TimmHiera
from torch import nn

from microtome.backbones.hiera import Hiera
from microtome.blueprint import build
from microtome.cli.compose import PACKAGED
from microtome.layers import rolled, unrolled
from microtome.testing import BackboneContract
from published_weights import assert_slices_agree, written

SIZES = ["tiny", "small", "base", "base_plus", "large", "huge"]
SMALL = {"depths": (1, 2, 1, 1), "embed_dim": 8}


class TestTwoDimensions(BackboneContract):
    def make(self):
        return Hiera(in_channels=2, drop_path=0.1, grid=8, **SMALL)


class TestThreeDimensions(BackboneContract):
    """Thick slices: no step along z until voxels are cubes; positions per axis."""

    def make(self):
        more = {"strides": ((1, 4, 4), (1, 2, 2), 2), "positions": "separable", "grid": (2, 8, 8)}
        return Hiera((1, 1, 1), 8, 1, 1, local=1, spatial_dims=3, **more)


def theirs(**more):
    torch.manual_seed(0)
    sizes = {"stages": SMALL["depths"], "embed_dim": 8, "num_classes": 0, **more}
    model = TimmHiera(**sizes)
    for name, value in model.named_parameters():
        if "pos_embed" in name:
            nn.init.normal_(value)
    return model.eval()


def close(ours, others, tolerance):
    for x, y in zip(ours, others, strict=True):
        assert (x - y).abs().max() <= tolerance * y.abs().max()


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-9)])
def test_in_the_plane_it_is_timms(dtype, tolerance, tmp_path):
    original = theirs(img_size=(64, 64))
    ours = Hiera(**SMALL, grid=16, weights=written(original, tmp_path)).eval().to(dtype)
    assert ours.report.share == 1.0
    assert all(k.startswith("head.") for k in ours.report.unused)
    image = torch.randn(2, 3, 64, 64, dtype=dtype)
    with torch.no_grad():
        _, expected = original.to(dtype).forward_intermediates(image)
        close(ours(image), expected, tolerance)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-9)])
def test_in_a_volume_it_is_timms(dtype, tolerance):
    """Learnt positions for every token; two poolings along z."""
    size = {"img_size": (32, 32, 64), "in_chans": 1, "q_stride": (2, 2, 2)}
    patch = {"patch_kernel": (7,) * 3, "patch_stride": (4,) * 3, "patch_padding": (3,) * 3}
    original = theirs(**size, **patch, mask_unit_size=(8, 8, 8))
    ours = Hiera(**SMALL, in_channels=1, grid=(8, 8, 16), spatial_dims=3)
    state = {k: v for k, v in original.state_dict().items() if not k.startswith("head.")}
    state["pos_embed.0"] = state.pop("pos_embed").mT.unflatten(2, (8, 8, 16))
    ours.load_state_dict(state)
    image = torch.randn(1, 1, 32, 32, 64, dtype=dtype)
    with torch.no_grad():
        x, expected = original.to(dtype).patch_embed(image), []
        x = original.unroll(x + original.pos_embed)
        for i, block in enumerate(original.blocks):
            x = block(x)
            if i in original.stage_ends:
                expected.append(original.reroll(x, i).movedim(-1, 1))
        close(ours.eval().to(dtype)(image), expected, tolerance)


def test_kept_units_are_timms():
    """Masked before the patches are cut, positions untouched, attention among kept units only."""
    original = theirs(img_size=(64, 96)).double()
    ours = Hiera(**SMALL, grid=(16, 24)).eval().double()
    state = {k: v for k, v in original.state_dict().items() if not k.startswith("head.")}
    state["pos_embed.0"] = state.pop("pos_embed").mT.unflatten(2, (16, 24))
    ours.load_state_dict(state)
    image = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    keep = torch.tensor([[1, 0, 0, 1, 1, 0], [0, 1, 1, 0, 0, 1]]).bool()
    with torch.no_grad():
        x = original.patch_embed(image, mask=keep.view(2, 1, 2, 3))
        x = original.unroll(x + original.pos_embed)
        x = x[keep[..., None].tile(1, original.mu_size, x.shape[2])].view(2, -1, x.shape[-1])
        for block in original.blocks:
            x = block(x)  # [2, 3, C]: a token for each kept unit
        last = ours(image, keep=keep.view(2, 2, 3))[-1].flatten(2).mT
    torch.testing.assert_close(last[keep].view(2, 3, -1), x, rtol=1e-9, atol=1e-9)
    assert last[~keep].eq(0).all()


@pytest.mark.parametrize("shape", [(16, 8), (4, 8, 12)])
def test_pooling_takes_neighbours(shape):
    """The maximum over the front of T is that of each cell of 2 (1 along z at first)."""
    dims = len(shape)
    steps = [(1, 2, 2)[-dims:], (2,) * dims]
    x = torch.randn(2, 3, *shape)
    tokens = unrolled(x, steps)
    units = [n // a // b for n, a, b in zip(shape, *steps, strict=True)]
    assert rolled(tokens, steps, units).equal(x)
    pooled = tokens.unflatten(2, (2 ** (2 if dims == 3 else dims), -1)).amax(2)
    expected = nn.MaxPool3d((1, 2, 2))(x if dims == 3 else x[:, :, None])
    assert rolled(pooled, steps[1:], units).equal(expected if dims == 3 else expected[:, :, 0])


@pytest.mark.parametrize("positions", ["absolute", "separable"])
def test_a_volume_constant_along_z_gives_the_image(positions, tmp_path):
    """Exactly: copies of a token change no average, and no maximum."""
    plane = Hiera(**SMALL, grid=16, positions=positions)
    for value in plane.pos_embed:
        nn.init.normal_(value)
    more = {"positions": positions, "grid": (8, 16, 16), "spatial_dims": 3}
    volume = Hiera(**SMALL, in_channels=1, weights=written(plane, tmp_path), **more)
    assert_slices_agree(plane, volume, depth=32)


@pytest.mark.parametrize("grid", [(8, 16), (8, 8, 16)])
def test_separable_positions_are_added(grid):
    """A vector for each place along each axis, or their sum for each token."""
    sizes = {**SMALL, "in_channels": 1, "grid": grid, "spatial_dims": len(grid)}
    apart = Hiera(positions="separable", **sizes).eval()
    for value in apart.pos_embed:
        nn.init.normal_(value)
    together = Hiera(**sizes).eval()
    total = sum(value.expand(-1, -1, *grid) for value in apart.pos_embed)
    assert [value.numel() // 8 for value in apart.pos_embed] == [*grid]
    state = {k: v for k, v in apart.state_dict().items() if "pos_embed" not in k}
    together.load_state_dict({**state, "pos_embed.0": total})
    image = torch.randn(1, 1, *[4 * n for n in grid])
    with torch.no_grad():
        close(apart(image), together(image), 1e-5)


@pytest.mark.parametrize("file, ours", [("absolute", "separable"), ("separable", "absolute")])
@pytest.mark.parametrize("axes", [2, 3])
def test_positions_of_the_other_kind_are_refused(file, ours, axes, tmp_path):
    weights = written(Hiera(**SMALL, grid=8, positions=file), tmp_path)
    with pytest.raises(ValueError, match=f"lack pos_embed: set positions='{file}'"):
        Hiera(**SMALL, grid=8, positions=ours, spatial_dims=axes, weights=weights)


@pytest.mark.parametrize("size", SIZES)
def test_all_sizes_have_timms_names_and_shapes(size):
    text = (PACKAGED / "model" / "backbone" / f"hiera_{size}.yaml").read_text()
    with torch.device("meta"):
        ours, original = build(yaml.safe_load(text)), timm.create_model(f"hiera_{size}_224")
    expected = {k: v.shape for k, v in original.state_dict().items() if not k.startswith("head.")}
    _, count, channels = expected.pop("pos_embed")
    found = {k: v.shape for k, v in ours.state_dict().items()}
    assert found.pop("pos_embed.0") == (1, channels, 56, 56) and count == 56 * 56
    assert found == expected


def test_what_does_not_fit_says_so():
    with pytest.raises(ValueError, match="2 depths and 4 strides: expected one of each per level"):
        Hiera((1, 1))
    with pytest.raises(ValueError, match="3 heads do not divide 8 channels"):
        Hiera(**SMALL, num_heads=3)
    with pytest.raises(ValueError, match=r"expected a multiple of \[32, 32\]: pad it"):
        Hiera(**SMALL)(torch.zeros(1, 3, 32, 40))
