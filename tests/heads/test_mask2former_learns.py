"""Mask2Former learns drawn images by heart: the same code in 2D and 3D, for both tasks."""

from functools import partial

import pytest
import torch
from torch import nn

from microtome.backbones import Backbone
from microtome.data.synthetic import SyntheticNuclei, SyntheticTissue
from microtome.heads.mask2former import Mask2Former
from microtome.layers import group_norm
from microtome.models import Segmenter
from microtome.structures import PyramidSpec

WIDTHS = (16, 32, 48)


class SmallPyramid(Backbone):
    """Strides 2, 4 and 8; in a volume of thick slices 1, 2 and 4 along z."""

    def __init__(self, in_channels, spatial_dims):
        super().__init__()
        first = (2,) * spatial_dims if spatial_dims == 2 else (1, 2, 2)
        conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        self.in_channels = in_channels
        strides = tuple(tuple(float(s * 2**i) for s in first) for i in range(3))
        self.spec = PyramidSpec(WIDTHS, strides, tuple(4 * s for s in first))
        self.steps = nn.ModuleList()
        for width, before in zip(WIDTHS, (in_channels, *WIDTHS), strict=False):
            down = conv(before, width, 3, 2 if len(self.steps) else first, 1)
            refine = conv(width, width, 3, 1, 1)
            parts = (down, group_norm(width), nn.GELU(), refine, group_norm(width), nn.GELU())
            self.steps.append(nn.Sequential(*parts))

    def forward(self, image, spacing=None, keep=None):
        maps = []
        for step in self.steps:
            image = step(image)
            maps.append(image)
        return tuple(maps)


def learnt(data, task, steps, learning_rate, per_step=1, num_queries=16):
    """Train on all of `data`; return results and truths."""
    torch.manual_seed(0)
    samples = [data.load(i) for i in range(len(data))]
    channels, dims = len(samples[0].image), samples[0].image.ndim - 1
    head = partial(
        Mask2Former,
        task=task,
        num_queries=num_queries,
        hidden=32,
        encoder_layers=1,
        decoder_layers=3,
        num_heads=4,
        num_points=1024,
    )
    backbone = SmallPyramid(channels, dims)
    model = Segmenter(backbone, head, data.classes, normalisation="zscore").train()
    optimiser = torch.optim.AdamW(model.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, steps, pct_start=0.1)
    for step in range(steps):
        batch = [samples[(step * per_step + i) % len(samples)] for i in range(per_step)]
        images, targets = model.prepare(batch)
        optimiser.zero_grad()
        model.total(model.losses(model(images, targets), targets)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    return model.eval().predict_samples(samples), [s.truth for s in samples]


def dices(result, truth):
    """Of every class that is there."""
    found = result.decided().classes
    pairs = [(found == kind, truth.classes == kind) for kind in truth.classes.unique()]
    return [2 * (one & other).sum() / (one.sum() + other.sum()) for one, other in pairs]


def hits(result, truth):
    """Objects found with an IoU above a half, objects found, and objects there."""
    found, there = (s.instances.masks.dense().flatten(1).float() for s in (result, truth))
    shared = found @ there.T
    overlap = shared / (found.sum(1, keepdim=True) + there.sum(1) - shared)
    return (overlap > 0.5).sum().item(), len(found), len(there)


@pytest.mark.parametrize(
    "data, steps, rate, least",
    [
        (SyntheticTissue(1, size=64), 90, 2e-3, 0.93),
        (SyntheticNuclei(1, shape=(8, 32, 32)), 60, 2e-3, 0.93),
    ],
    ids=["plane", "volume"],
)
def test_classes_are_learnt(data, steps, rate, least):
    results, truths = learnt(data, "semantic", steps, rate)
    assert min(dices(results[0], truths[0])) > least


@pytest.mark.parametrize(
    "data, steps, rate",
    [
        (SyntheticTissue(1, size=64, start=1), 130, 2e-3),
        (SyntheticNuclei(1, shape=(6, 24, 24)), 150, 4e-3),
    ],
    ids=["plane", "volume"],
)
def test_objects_are_learnt(data, steps, rate):
    results, truths = learnt(data, "instance", steps, rate)
    right, found, there = hits(results[0], truths[0])
    assert right == found >= there - 1 and there >= 5
