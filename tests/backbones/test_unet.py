"""MONAI's U-Net family as backbones."""

import pytest
import torch
from monai.networks import nets

from microtome.backbones.unet import UNet
from microtome.testing import BackboneContract

BASIC = {"features": [8] * 6}
STRIDED = {"channels": [8, 16, 16], "strides": [2, 2]}
UNEVEN = {"channels": [8, 16, 16], "strides": [[1, 2, 2], 2]}
DYNAMIC = {"filters": [8, 8, 16], "strides": [1, [1, 2, 2], 2]}


class TestBasicUNet(BackboneContract):
    fullgraph = False  # MONAI calls torch.jit.isinstance in it

    def make(self):
        return UNet("BasicUNet", 8, options=BASIC)


class TestBasicUNetOfAVolume(BackboneContract):
    fullgraph = False

    def make(self):
        return UNet("BasicUNet", 8, in_channels=1, spatial_dims=3, options=BASIC)


class TestResidualUNet(BackboneContract):
    def make(self):
        return UNet("UNet", 8, options=STRIDED)


class TestUNetOfThickSlices(BackboneContract):
    def make(self):
        return UNet("UNet", 8, in_channels=2, spatial_dims=3, options=UNEVEN)


class TestAttentionUnet(BackboneContract):
    def make(self):
        return UNet("AttentionUnet", 8, options=STRIDED)


class TestDynUNet(BackboneContract):
    def make(self):
        return UNet("DynUNet", 8, options={"filters": [8, 8, 16], "strides": [1, 2, 2]})


class TestDynUNetOfThickSlices(BackboneContract):
    def make(self):
        return UNet("DynUNet", 8, in_channels=1, spatial_dims=3, options=DYNAMIC)


class TestSegResNet(BackboneContract):
    def make(self):
        return UNet("SegResNet", 8, options={"init_filters": 8, "blocks_down": [1, 1, 1, 1]})


@pytest.mark.parametrize(
    "net, options, multiple",
    [
        ("BasicUNet", BASIC, (16, 16, 16)),
        ("UNet", STRIDED, (4, 4, 4)),
        ("UNet", UNEVEN, (2, 4, 4)),
        ("DynUNet", DYNAMIC, (2, 4, 4)),
        ("SegResNet", {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}, (2, 2, 2)),
    ],
)
def test_the_multiple_follows_from_the_strides(net, options, multiple):
    assert UNet(net, 8, 1, 3, options).spec.multiple == multiple


def test_it_is_monais_network():
    ours = UNet("BasicUNet", 8, options=BASIC)
    theirs = nets.BasicUNet(2, 3, 8, norm=("group", {"num_groups": 2}), **BASIC)
    theirs.load_state_dict(ours.net.state_dict())
    image = torch.randn(1, 3, 32, 48)
    torch.testing.assert_close(ours(image)[0], theirs(image), rtol=0, atol=0)


@pytest.mark.parametrize("net", ["BasicUNet", "UNet", "AttentionUnet", "DynUNet", "SegResNet"])
def test_defaults_need_no_options_and_take_the_smallest_image(net):
    backbone = UNet(net).eval()
    with torch.no_grad():
        (x,) = backbone(torch.randn(1, 3, *backbone.spec.multiple))
    assert x.shape[1] == 32 and x.isfinite().all()


@pytest.mark.parametrize("name", ["UNETR", "torch.hub.load", "monai.networks.nets.UNet"])
def test_only_the_family_can_be_named(name):
    with pytest.raises(ValueError, match="expected a network out of DynUNet, UNet"):
        UNet(name)


@pytest.mark.parametrize(
    "net, options, message",
    [
        ("BasicUNet", {"depth": 3}, "unexpected keyword argument 'depth'"),
        ("DynUNet", {"deep_supervision": True}, "expected one map of the image's size"),
        ("SegResNet", {"blocks_up": [1]}, "SegResNet does not work with these options"),
    ],
)
def test_impossible_options_are_refused_at_once(net, options, message):
    with pytest.raises(ValueError, match=message):
        UNet(net, options=options)
