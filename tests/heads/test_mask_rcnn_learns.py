"""Mask R-CNN on a narrow ResNet learns drawn images by heart, in 2D and 3D."""

from functools import partial

import pytest
import torch
from overfitting import train

from microtome.backbones.resnet import ResNet
from microtome.data.synthetic import SyntheticNuclei, SyntheticTissue
from microtome.evaluation import InstanceEvaluator
from microtome.heads.mask_rcnn import MaskRCNN
from microtome.models import Segmenter
from microtome.necks.fpn import FPN

SMALL = {"further": 0, "ratios": (1.0,), "hidden": 128, "mask_channels": 32, "mask_layers": 2}
SMALL |= {"regions_judged": 64, "proposals": (200, 100), "min_score": 0.05}


def plane():
    """Nuclei of about 8 pixels, and anchors like them on the finest of levels of 2 to 16 pixels."""
    net = ResNet(18, 3, 16, "group", strides=(1, 2, 2, 2, 2))
    sizes = [[8.0], [16.0], [32.0], [64.0]]
    return SyntheticTissue(8, size=64), net, {"anchor_sizes": sizes, "mask_cells": 7}


def volume():
    """Nuclei of about 3 x 10 x 10, in cells of thick slices."""
    strides = (1, (1, 2, 2), 2, 2, 2)
    net = ResNet(18, 1, 16, "group", strides=strides, spatial_dims=3)
    sizes = [[(3.0, 10.0, 10.0)], [(5.0, 14.0, 14.0)], [(8.0, 24.0, 24.0)], [(8.0, 32.0, 32.0)]]
    options = {"anchor_sizes": sizes, "box_cells": 4, "mask_cells": 5}
    return SyntheticNuclei(8, shape=(8, 32, 32)), net, options


@pytest.mark.slow
@pytest.mark.parametrize("setting, steps", [(plane, 200), (volume, 180)], ids=["plane", "volume"])
def test_objects_of_eight_images_are_learnt(setting, steps):
    torch.manual_seed(0)
    data, net, options = setting()
    samples = [data.load(i) for i in range(len(data))]
    head, neck = partial(MaskRCNN, **SMALL, **options), partial(FPN, out_channels=32)
    model = Segmenter(net, head, data.classes, neck, normalisation="zscore")
    train(model, samples, steps, 3e-3, per_step=4)
    evaluator = InstanceEvaluator(data.classes)
    evaluator.process(model.predict_samples(samples), [s.truth for s in samples])
    numbers = evaluator.evaluate()
    assert numbers["coco_ap50"] >= 0.95, numbers
