"""A small segmenter, in 2D and 3D."""

import pytest
import torch

from microtome.backbones.unet import UNet
from microtome.heads.dense import Dense
from microtome.models import Segmenter
from microtome.structures import Classes


@pytest.fixture
def classes():
    colours = ((0, 0, 0), (255, 0, 0), (0, 0, 255))
    return Classes(("background", "gland", "nucleus"), colours=colours)


@pytest.fixture
def small_segmenter(classes):
    def make(spatial_dims=2, in_channels=3, normalisation="backbone", published=None):
        torch.manual_seed(0)
        options = {"filters": [8, 8, 16], "strides": [1, 2, 2]}
        backbone = UNet("DynUNet", 8, in_channels, spatial_dims, options)
        backbone.normalisation = published or backbone.normalisation
        return Segmenter(backbone, Dense, classes, normalisation=normalisation)

    return make


@pytest.fixture(params=[2, 3], ids=["image", "volume"])
def segmenter(request, small_segmenter):
    return small_segmenter(request.param, {2: 3, 3: 1}[request.param])
