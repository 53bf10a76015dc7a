"""Mask DINO on a narrow ResNet learns drawn images by heart, in 2D and 3D."""

from functools import partial

import pytest
import torch
from overfitting import train

from microtome.backbones.resnet import ResNet
from microtome.data.synthetic import SyntheticNuclei, SyntheticTissue
from microtome.evaluation import InstanceEvaluator
from microtome.heads.maskdino import MaskDINO
from microtome.models import Segmenter

SMALL = {"num_queries": 64, "num_denoising": 48, "hidden": 64, "num_points": 1024}
SMALL |= {"encoder_layers": 1, "decoder_layers": 2, "num_heads": 4, "min_score": 0.05}
SMALL |= {"boxes_of_masks": False, "masks_of_boxes": True}


def plane():
    net = ResNet(18, 3, 16, "group", strides=(1, 2, 2, 2, 2))
    return SyntheticTissue(8, size=64), net


def volume():
    strides = (1, (1, 2, 2), 2, 2, 2)
    net = ResNet(18, 1, 16, "group", strides=strides, spatial_dims=3)
    return SyntheticNuclei(8, shape=(8, 32, 32)), net


@pytest.mark.slow
@pytest.mark.parametrize("setting, steps", [(plane, 200), (volume, 160)], ids=["plane", "volume"])
def test_objects_of_eight_images_are_learnt(setting, steps):
    torch.manual_seed(0)
    data, net = setting()
    samples = [data.load(i) for i in range(len(data))]
    model = Segmenter(net, partial(MaskDINO, **SMALL), data.classes, normalisation="zscore")
    train(model, samples, steps, 2e-3, per_step=4)
    evaluator = InstanceEvaluator(data.classes)
    evaluator.process(model.predict_samples(samples), [s.truth for s in samples])
    numbers = evaluator.evaluate()
    assert numbers["coco_ap50"] >= 0.95, numbers
