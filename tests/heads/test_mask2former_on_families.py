"""Mask2Former learns a drawn image by heart on each family of backbones, in 2D and 3D."""

from functools import partial

import pytest
from overfitting import dices, learnt

from microtome.backbones.convnext import ConvNeXt
from microtome.backbones.hiera import Hiera
from microtome.backbones.internimage import InternImage
from microtome.backbones.resnet import ResNet
from microtome.backbones.vit import ViT
from microtome.data.synthetic import SyntheticNuclei, SyntheticTissue
from microtome.necks.simple_pyramid import SimplePyramid

# Strides 2 to 16; in a volume of thick slices half of that along z.
PLANE = {"in_channels": 3, "strides": (2, 2, 2, 2)}
VOLUME = {"in_channels": 1, "strides": ((1, 2, 2), 2, 2, 2), "spatial_dims": 3}
FOUR = (1, 1, 1, 1)


def resnet(strides, **more):
    return ResNet(18, width=8, strides=(strides[0], 1, *strides[1:]), **more)


def internimage(strides, **more):
    return InternImage(FOUR, 16, 2, strides=(strides[0], 1, *strides[1:]), **more)


def vit(strides, in_channels, spatial_dims=2):
    """Windows, relative positions and a bottleneck; its neck makes the levels."""
    patch = (4, 8, 8)[-spatial_dims:]
    sizes = {"embed_dim": 64, "depth": 2, "num_heads": 4, "groups": 1}
    more = {"relative": True, "window": 2, "grid": 4, "residual": "last"}
    return ViT(in_channels, patch, spatial_dims=spatial_dims, **sizes, **more)


FAMILIES = {
    "resnet": (resnet, None),
    "convnext": (partial(ConvNeXt, FOUR, (16, 24, 32, 48)), None),
    "internimage": (internimage, None),
    "vit": (vit, partial(SimplePyramid, out_channels=32)),
    "hiera": (partial(Hiera, FOUR, 16, grid=16), None),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "data, sizes, steps",
    [
        pytest.param(SyntheticTissue(1, size=64), PLANE, 140, id="plane", marks=pytest.mark.slow),
        pytest.param(SyntheticNuclei(1, shape=(8, 32, 32)), VOLUME, 50, id="volume"),
    ],
)
def test_an_image_is_learnt(family, data, sizes, steps):
    """Each class overlaps its truth by a Dice of 0.9, and the loss falls to less than half."""
    make, neck = FAMILIES[family]
    backbone = partial(make, **sizes)
    results, truths, spent = learnt(data, backbone, "semantic", steps, 3e-3, neck=neck)
    assert min(dices(results[0], truths[0])) > 0.9
    assert sum(spent[-5:]) < sum(spent[:5]) / 2


class Blind(ConvNeXt):
    """Sees nothing: what is learnt is learnt by place."""

    def forward(self, image, spacing=None, keep=None):
        return tuple(0 * x for x in super().forward(image, spacing, keep))


@pytest.mark.slow
def test_without_a_backbone_it_is_not_learnt():
    data, backbone = SyntheticNuclei(1, shape=(8, 32, 32)), partial(Blind, FOUR, (16, 24, 32, 48))
    results, truths, spent = learnt(data, lambda: backbone(**VOLUME), "semantic", 50, 3e-3)
    assert min(dices(results[0], truths[0])) < 0.8
    assert sum(spent[-5:]) > sum(spent[:5]) / 2
