"""Mask2Former on a ViT-Adapter learns drawn images by heart, in 2D and 3D, for both tasks."""

import contextlib
import io
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from microtome.backbones.vit import ViT
from microtome.backbones.vit_adapter import ViTAdapter
from microtome.data.synthetic import SyntheticNuclei, SyntheticTissue
from microtome.heads.mask2former import Mask2Former
from microtome.models import Segmenter


def adapter(in_channels, spatial_dims):
    """Strides 2 to 16; in a volume of thick slices half of that along z."""
    patch = (4, 8, 8)[-spatial_dims:]
    vit = ViT(in_channels, patch, 64, depth=2, num_heads=4, spatial_dims=spatial_dims)
    return ViTAdapter(vit, interactions=2, num_heads=4, prior_width=16, extra_extractors=0)


def learnt(data, task, steps, learning_rate, per_step=1, **options):
    """Train on all of `data`; return results and truths."""
    torch.manual_seed(0)
    samples = [data.load(i) for i in range(len(data))]
    channels, dims = len(samples[0].image), samples[0].image.ndim - 1
    settings = {"num_queries": 16, "hidden": 32, "encoder_layers": 1, "decoder_layers": 3}
    settings |= {"num_heads": 4, "num_points": 1024, **options}
    head = partial(Mask2Former, task=task, **settings)
    model = Segmenter(adapter(channels, dims), head, data.classes, normalisation="zscore").train()
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
    found, there = (s.instances.masks.dense().tensor.flatten(1).float() for s in (result, truth))
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
        (SyntheticTissue(1, size=64, start=1), 260, 2e-3),
        (SyntheticNuclei(1, shape=(6, 24, 24)), 150, 4e-3),
    ],
    ids=["plane", "volume"],
)
def test_objects_are_learnt(data, steps, rate):
    results, truths = learnt(data, "instance", steps, rate)
    right, found, there = hits(results[0], truths[0])
    assert right == found >= there - 1 and there >= 5


def coco_ap50(results, truths, classes):
    """Average precision at an IoU of a half, by pycocotools."""
    images, objects, found = [], [], []
    for image_id, (result, truth) in enumerate(zip(results, truths, strict=True), 1):
        height, width = truth.classes.shape
        images.append({"id": image_id, "height": height, "width": width})
        for about, one in rows(truth.instances, image_id):
            area = int(one.sum())
            about |= {"id": len(objects) + 1, "iscrowd": 0, "area": area, "bbox": [0, 0, 1, 1]}
            objects.append(about)
        found += [
            about | {"score": float(score)}
            for (about, _), score in zip(
                rows(result.instances, image_id), result.instances.scores, strict=True
            )
        ]
    categories = [{"id": k, "name": n} for k, n in enumerate(classes.names, 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        there = COCO()
        there.dataset = {"images": images, "annotations": objects, "categories": categories}
        there.createIndex()
        judge = COCOeval(there, there.loadRes(found), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats[1]


def rows(instances, image_id):
    for one, label in zip(instances.masks.dense().tensor, instances.labels.tolist(), strict=True):
        encoded = run_lengths.encode(np.asfortranarray(one.numpy().astype(np.uint8)))
        yield {"image_id": image_id, "category_id": label + 1, "segmentation": encoded}, one


def test_the_judge_of_objects_is_no_fool():
    data = SyntheticTissue(2, size=64)
    truths = [data.load(i).truth for i in range(2)]
    sure = [
        replace(t, instances=replace(t.instances, scores=torch.ones(len(t.instances.labels))))
        for t in truths
    ]
    assert coco_ap50(sure, truths, data.classes) == pytest.approx(1)
    assert coco_ap50(sure[::-1], truths, data.classes) < 0.2


@pytest.mark.slow
def test_objects_of_eight_images_are_learnt():
    data = SyntheticTissue(8, size=64)
    results, truths = learnt(data, "instance", 800, 3e-3, per_step=4, num_queries=32, hidden=64)
    assert coco_ap50(results, truths, data.classes) >= 0.95
