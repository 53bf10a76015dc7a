"""Mask2Former on a ViT-Adapter learns drawn images by heart, in 2D and 3D, for both tasks."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from overfitting import dices, hits, learnt
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from microtome.backbones.vit import ViT
from microtome.backbones.vit_adapter import ViTAdapter
from microtome.data.synthetic import SyntheticNuclei, SyntheticTissue
from microtome.evaluation import InstanceEvaluator


def plane():
    """Strides 2 to 16."""
    return adapter(ViT(3, 8, 64, depth=2, num_heads=4))


def volume():
    """Of thick slices: along z half of that."""
    return adapter(ViT(1, (4, 8, 8), 64, depth=2, num_heads=4, spatial_dims=3))


def adapter(vit):
    return ViTAdapter(vit, interactions=2, num_heads=4, prior_width=16, extra_extractors=0)


@pytest.mark.parametrize(
    "data, backbone, steps, rate, least",
    [
        (SyntheticTissue(1, size=64), plane, 90, 2e-3, 0.93),
        (SyntheticNuclei(1, shape=(8, 32, 32)), volume, 60, 2e-3, 0.93),
    ],
    ids=["plane", "volume"],
)
def test_classes_are_learnt(data, backbone, steps, rate, least):
    results, truths, _ = learnt(data, backbone, "semantic", steps, rate)
    assert min(dices(results[0], truths[0])) > least


@pytest.mark.parametrize(
    "data, backbone, steps, rate",
    [
        (SyntheticTissue(1, size=64, start=1), plane, 260, 2e-3),
        (SyntheticNuclei(1, shape=(6, 24, 24)), volume, 150, 4e-3),
    ],
    ids=["plane", "volume"],
)
def test_objects_are_learnt(data, backbone, steps, rate):
    results, truths, _ = learnt(data, backbone, "instance", steps, rate)
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
    more = {"per_step": 4, "num_queries": 32, "hidden": 64}
    results, truths, _ = learnt(data, plane, "instance", 800, 3e-3, **more)
    assert coco_ap50(results, truths, data.classes) >= 0.95


@pytest.mark.slow
def test_objects_of_eight_volumes_are_learnt():
    data = SyntheticNuclei(8, shape=(6, 24, 24))
    more = {"per_step": 4, "num_queries": 32, "hidden": 64, "min_score": 0.05}
    results, truths, _ = learnt(data, volume, "instance", 400, 3e-3, **more)
    evaluator = InstanceEvaluator(data.classes)
    evaluator.process(results, truths)
    numbers = evaluator.evaluate()
    assert numbers["coco_ap50"] >= 0.95, numbers
