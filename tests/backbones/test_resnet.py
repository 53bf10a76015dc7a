"""Residual networks: torchvision's in two dimensions, MONAI's in three."""

import pytest
import torch
import torchvision
from monai.networks.nets import resnet as monai

from microtome.backbones import Normalisation
from microtome.backbones.family import IMAGENET, Weights
from microtome.backbones.resnet import ResNet
from microtome.geometry import proposed_strides
from microtome.testing import BackboneContract
from microtome.testing.checks import rebuilt
from published_weights import assert_slices_agree, written

DEPTHS = [18, 34, 50, 101, 152]


class TestTwoDimensions(BackboneContract):
    def make(self):
        return ResNet(18, in_channels=2, width=8, drop_path=0.1)


class TestThreeDimensions(BackboneContract):
    """Thick slices: no stride along z until voxels are cubes; bottlenecks, group norm."""

    def make(self):
        strides = proposed_strides((2.0, 0.5, 0.5), (2, 2, 2, 2, 2))
        return ResNet(50, 1, width=8, norm="group", strides=strides, spatial_dims=3)


def same(ours, theirs, tolerance):
    for x, y in zip(ours, theirs, strict=True):
        assert (x - y).abs().max() <= tolerance * y.abs().max()


def stirred(module):
    """Norms that do something."""
    torch.manual_seed(1)
    for name, value in module.state_dict().items():
        if "bn" in name or "downsample.1" in name:
            value.copy_(torch.rand_like(value) + 0.5 if value.is_floating_point() else value)
    return module.eval()


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-9)])
def test_in_the_plane_it_is_torchvisions(depth, dtype, tolerance):
    theirs = stirred(torchvision.models.get_model(f"resnet{depth}")).to(dtype)
    ours = ResNet(depth).eval().to(dtype)
    state = theirs.state_dict()
    ours.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    image = torch.randn(1, 3, 64, 96, dtype=dtype)
    x, expected = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image)))), []
    with torch.no_grad():
        for stage in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            x = stage(x)
            expected.append(x)
        same(ours(image), expected, tolerance)


@pytest.mark.parametrize("depth", [18, 50])
def test_in_a_volume_it_is_monais(depth):
    theirs = getattr(monai, f"resnet{depth}")(
        n_input_channels=1,
        num_classes=2,
        widen_factor=0.25,
        conv1_t_stride=2,
        bias_downsample=False,
        shortcut_type="B",
    )
    theirs = stirred(theirs).double()
    ours = ResNet(depth, 1, width=16, spatial_dims=3).eval().double()
    state = theirs.state_dict()
    ours.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    image = torch.randn(1, 1, 32, 32, 64, dtype=torch.float64)
    with torch.no_grad():
        theirs.avgpool = theirs.fc = torch.nn.Identity()
        same([ours(image)[-1].flatten(1)], [theirs(image)], 1e-9)


@pytest.mark.parametrize("depth", DEPTHS)
def test_all_depths_have_torchvisions_names_and_shapes(depth):
    with torch.device("meta"):
        ours, theirs = ResNet(depth), torchvision.models.get_model(f"resnet{depth}")
    expected = {k: v.shape for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    assert {k: v.shape for k, v in ours.state_dict().items()} == expected
    assert ours.spec.channels == ((64, 128, 256, 512) if depth < 50 else (256, 512, 1024, 2048))


def test_strides_may_differ_per_axis():
    net = ResNet(18, 1, width=8, strides=[[1, 2, 2], [1, 2, 2], 2, 2, 2], spatial_dims=3)
    assert net.spec.strides == ((1, 4, 4), (2, 8, 8), (4, 16, 16), (8, 32, 32))
    assert net.spec.multiple == (8, 32, 32)


def test_what_does_not_exist_says_so():
    with pytest.raises(ValueError, match="18, 34, 50, 101, 152 layers and 5 strides, got 20"):
        ResNet(20)
    with pytest.raises(ValueError, match="got 18 layers and 4 strides"):
        ResNet(18, strides=(2, 2, 2, 2))


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_a_volume_constant_along_z_gives_the_image(norm, tmp_path):
    """Exactly: the middle slice of every kernel, and borders that do not matter."""
    torch.manual_seed(0)
    plane = stirred(ResNet(18, width=8, norm=norm))
    weights = written(plane, tmp_path)
    volume = ResNet(18, 1, width=8, norm=norm, spatial_dims=3, weights=weights)
    assert_slices_agree(plane, volume, depth=32)


def test_published_files_load_completely_and_are_not_needed_again(tmp_path):
    theirs = torchvision.models.resnet18()
    ours = ResNet(18, in_channels=4, weights=written(theirs, tmp_path))
    assert ours.report.unused == ("fc.bias", "fc.weight")
    assert ours.report.adapted == ("conv1.weight [64, 3, 7, 7] for [64, 4, 7, 7]",)
    assert ours.normalisation == IMAGENET.adapted(4)
    assert ours.normalisation.mean == (0.485, 0.456, 0.406, 0.485)
    assert ours.origin["weights"] == "published.safetensors"
    (tmp_path / "published.safetensors").unlink()
    twin = rebuilt(ours)
    assert (twin.normalisation, twin.origin) == (ours.normalisation, ours.origin)


def test_weights_of_another_depth_are_refused(tmp_path):
    weights = written(torchvision.models.resnet18(), tmp_path)
    with pytest.raises(ValueError, match=r"only \d+% of the tensors were found, 95% are expected"):
        ResNet(34, weights=weights)
    some = ResNet(34, weights=weights._replace(at_least=0.3))
    assert 0.3 < some.report.share < 0.95


def test_statistics_may_be_stated():
    stated = Weights(normalisation=Normalisation((0.5,) * 3, (0.25,) * 3))
    assert ResNet(18, 1, width=8, weights=stated).normalisation == Normalisation((0.5,), (0.25,))
