"""ConvNeXt V2: timm's in two dimensions, one of its slices in three."""

import pytest
import timm
import torch
import yaml
from torch import nn

from microtome.backbones.convnext import ConvNeXt
from microtome.backbones.family import Weights
from microtome.blueprint import build
from microtome.cli.compose import PACKAGED
from microtome.testing import BackboneContract
from published_weights import assert_slices_agree, written

SIZES = ["atto", "femto", "pico", "nano", "tiny", "small", "base", "large", "huge"]
SMALL = {"depths": (1, 2, 1, 1), "dims": (8, 12, 16, 24)}


class TestTwoDimensions(BackboneContract):
    def make(self):
        return ConvNeXt(in_channels=2, drop_path=0.1, **SMALL)


class TestThreeDimensions(BackboneContract):
    """Thick slices: kernels and strides are flat where voxels are."""

    def make(self):
        strides = ((1, 4, 4), 2, 2)
        return ConvNeXt((1, 1, 1), (8, 8, 16), 1, (3, 7, 7), strides, spatial_dims=3)


def stirred(model):
    """Response norms are nothing at the beginning."""
    torch.manual_seed(0)
    for name, value in model.named_parameters():
        if "grn" in name:
            nn.init.normal_(value)
    return model.eval()


@pytest.mark.parametrize("conv_mlp", [False, True])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-9)])
def test_in_the_plane_it_is_timms(conv_mlp, dtype, tolerance, tmp_path):
    theirs = timm.create_model("convnextv2_tiny", conv_mlp=conv_mlp, **SMALL)
    theirs = stirred(theirs)
    ours = ConvNeXt(weights=written(theirs, tmp_path), **SMALL).eval().to(dtype)
    assert ours.report.share == 1.0
    assert all(k.startswith("head.") for k in ours.report.unused)
    image = torch.randn(2, 3, 64, 96, dtype=dtype)
    with torch.no_grad():
        _, expected = theirs.to(dtype).forward_intermediates(image)
        for x, y in zip(ours(image), expected, strict=True):
            assert (x - y).abs().max() <= tolerance * y.abs().max()


def test_the_authors_names_are_understood(tmp_path):
    """As timm reads them."""
    theirs = stirred(timm.create_model("convnextv2_tiny", num_classes=0, **SMALL))
    ours = stirred(ConvNeXt(**SMALL))
    names = {}
    for key, value in ours.state_dict().items():
        new = key.replace("stem.", "downsample_layers.0.").replace("mlp.fc", "pwconv")
        new = new.replace("conv_dw", "dwconv").replace(".blocks", "")
        if ".downsample." in new:
            new = "downsample_layers." + new.removeprefix("stages.").replace(".downsample", "")
        if "grn" in new:
            new = new.replace("mlp.grn.weight", "grn.gamma").replace("mlp.grn.bias", "grn.beta")
            value = value[None, None, None]
        names[new] = value
    theirs.load_state_dict(timm.models.convnext.checkpoint_filter_fn(dict(names), theirs), False)
    torch.save({"model": names}, tmp_path / "x.pt")
    again = ConvNeXt(**SMALL, weights=written(theirs, tmp_path)).eval()
    direct = ConvNeXt(**SMALL, weights=Weights(str(tmp_path / "x.pt"))).eval()
    image = torch.randn(1, 3, 32, 32)
    for x, y, z in zip(direct(image), ours(image), again(image), strict=True):
        assert x.equal(y) and y.equal(z)


@pytest.mark.parametrize("kernel, strides", [(7, (4, 2, 2, 2)), ((1, 7, 7), ((1, 4, 4), 2, 2, 2))])
def test_a_volume_constant_along_z_gives_the_image(kernel, strides, tmp_path):
    plane = stirred(ConvNeXt(**SMALL))
    weights = written(plane, tmp_path)
    volume = ConvNeXt(
        **SMALL, in_channels=1, kernel=kernel, strides=strides, spatial_dims=3, weights=weights
    )
    assert_slices_agree(plane, volume, depth=32)


@pytest.mark.parametrize("size", SIZES)
def test_all_sizes_have_timms_names_and_shapes(size):
    text = (PACKAGED / "model" / "backbone" / f"convnextv2_{size}.yaml").read_text()
    with torch.device("meta"):
        ours = build(yaml.safe_load(text))
        theirs = timm.create_model(f"convnextv2_{size}", conv_mlp=False)
    expected = {k: v.shape for k, v in theirs.state_dict().items() if not k.startswith("head.")}
    assert {k: v.shape for k, v in ours.state_dict().items()} == expected


def test_unequal_levels_say_so():
    with pytest.raises(ValueError, match="3 depths, 4 dims and 4 strides: expected one of each"):
        ConvNeXt((1, 1, 1))
