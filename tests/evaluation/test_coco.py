"""COCO's average precision against pycocotools, which is also asked about volumes laid flat."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest
import torch
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from microtome.evaluation import InstanceEvaluator
from microtome.evaluation.coco import detections
from microtome.evaluation.coco_matching import partners
from microtome.evaluation.coco_precision import coco_numbers
from microtome.evaluation.overlap import overlap
from microtome.structures import Classes, Instances, LabelLayers, Segmentation

KINDS = Classes(("background", "round", "flat"), things=(False, True, True))
CELLS = Classes(("background", "cell"), things=(False, True))
SIDES = (5.0, 7.0)  # of small objects, so that all sizes occur


def boxes(shape, count, seed):
    """Blocks that overlap here and there: [N, *S] bool."""
    random = np.random.default_rng(seed)
    masks = np.zeros((count, *shape), bool)
    for mask in masks:
        size = random.integers(3, 9, len(shape))
        start = [random.integers(0, s - w + 1) for s, w in zip(shape, size, strict=True)]
        mask[tuple(slice(a, a + w) for a, w in zip(start, size, strict=True))] = True
    return masks


def drawn(shape, seed, count=14):
    """Truth with two crowds, and detections: moved truth, some twice, and others: masks, labels."""
    random = np.random.default_rng(seed)
    true = boxes(shape, count, seed)
    moved = [np.roll(m, random.integers(-1, 2), random.integers(len(shape))) for m in true]
    again = [np.roll(m, 1, 0) for m in true[::2]]
    found = np.concatenate([moved, again, boxes(shape, 4, seed + 100)])
    true_labels = random.integers(1, 3, len(true))
    found_labels = random.integers(1, 3, len(found))
    found_labels[: len(true)] = np.where(
        random.random(len(true)) < 0.9, true_labels, 3 - true_labels
    )
    scores = (random.random(len(found)) * 20).round() / 20  # some are equal
    crowd = np.arange(len(true)) % 6 == 5
    return (true, true_labels, crowd), (found, found_labels, scores.astype(np.float32))


def coco(images, ndim, cap, sides=SIDES):
    """pycocotools on masks [*S], flattened to pictures: [T, classes, areas] average precision."""
    there, found = [], []
    for number, ((true, labels, crowd), (masks, kinds, scores)) in enumerate(images, 1):
        for mask, label, many in zip(true, labels, crowd, strict=True):
            about = about_mask(mask, number, label) | {"iscrowd": int(many)}
            there.append(about | {"id": len(there) + 1, "area": int(mask.sum())})
        for mask, label, score in zip(masks, kinds, scores, strict=True):
            found.append(about_mask(mask, number, label) | {"score": float(score)})
    size = [int(np.prod(images[0][0][0].shape[1:-1])), images[0][0][0].shape[-1]]
    pictures = [{"id": n, "height": size[0], "width": size[1]} for n in range(1, len(images) + 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": pictures,
            "annotations": there,
            "categories": [{"id": k, "name": str(k)} for k in (1, 2)],
        }
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(found), "segm")
        low, high = (side**ndim for side in sides)
        judge.params.areaRng = [[0, 1e10], [0, low], [low, high], [high, 1e10]]
        judge.params.maxDets = [cap]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][..., 0]  # T, recalls, classes, areas
    return np.where(precision[:, 0] < 0, np.nan, precision.mean(1))


def about_mask(mask, image, label):
    flat = mask.reshape(-1, mask.shape[-1])
    encoded = run_lengths.encode(np.asfortranarray(flat.astype(np.uint8)))
    return {"image_id": image, "category_id": int(label), "segmentation": encoded}


def layers(masks):
    return LabelLayers.from_masks(torch.from_numpy(masks))


def ours(images, ndim, cap, sides=SIDES):
    made = []
    for (true, true_labels, crowd), (found, labels, scores) in images:
        table = overlap(layers(found), layers(true))
        made.append(
            detections(
                table,
                (torch.from_numpy(labels), torch.from_numpy(scores)),
                (torch.from_numpy(true_labels), torch.from_numpy(crowd)),
                3,
                bounds=[side**ndim for side in sides],
                cap=cap,
            )
        )
    once = torch.ones(1, len(made))
    every, sized = (coco_numbers(made, once, sized=s) for s in (False, True))
    return {k: torch.cat([every[k][0, 2:, None], sized[k][0, 2:]], 1).numpy() for k in every}


@pytest.mark.parametrize("shape", [(40, 44), (14, 16, 18)])
@pytest.mark.parametrize("cap", [500, 5])
def test_it_is_that_of_pycocotools(shape, cap):
    images = [drawn(shape, seed) for seed in range(4)]
    want = coco(images, len(shape), cap)
    have = ours(images, len(shape), cap)
    np.testing.assert_allclose(have["coco_ap"], want.mean(0), atol=1e-6)
    np.testing.assert_allclose(have["coco_ap50"], want[0], atol=1e-6)
    np.testing.assert_allclose(have["coco_ap75"], want[5], atol=1e-6)
    assert np.isnan(want).mean() < 0.2 and 0.05 < np.nanmean(want) < 0.95
    assert len(np.unique(want[0].round(3))) > 6, "classes and sizes differ"


def segmentation(masks, labels, scores=None):
    scores = None if scores is None else torch.as_tensor(scores)
    return Segmentation(
        instances=Instances(torch.as_tensor(labels), scores=scores, masks=layers(masks))
    )


@pytest.mark.parametrize("shape", [(40, 44), (14, 16, 18)])
def test_the_evaluator_gives_means_over_classes_and_counts_every_detection(shape):
    images = [
        ((true, labels, 0 * crowd.astype(int)), found)
        for (true, labels, crowd), found in (drawn(shape, seed, 110) for seed in range(2))
    ]
    evaluator = InstanceEvaluator(KINDS, sides=SIDES)
    for true, found in images:
        evaluator.process([segmentation(*found)], [segmentation(*true[:2])])
    want = coco(images, len(shape), 1000)
    numbers = evaluator.evaluate()
    assert numbers["mean_coco_ap"] == pytest.approx(np.nanmean(want[..., 0]), abs=1e-6)
    assert numbers["coco_ap50/flat"] == pytest.approx(want[0, 1, 0], abs=1e-6)
    capped = coco(images, len(shape), 20)
    assert abs(np.nanmean(capped[..., 0]) - numbers["mean_coco_ap"]) > 0.01
    sizes = evaluator.by_size()
    for key, of_size in (("coco_ap", want.mean(0)), ("coco_ap50", want[0]), ("coco_ap75", want[5])):
        have = [sizes[s][f"mean_{key}"] for s in sizes]
        np.testing.assert_allclose(have, np.nanmean(of_size[:, 1:], 0), atol=1e-6)
    anyhow = [((t, 0 * y + 1, c), (f, 0 * z + 1, s)) for (t, y, c), (f, z, s) in images]
    want = coco(anyhow, len(shape), 1000)[:, 0]
    assert numbers["coco_ap"] == pytest.approx(want[:, 0].mean(), abs=1e-6)
    assert [sizes[s]["coco_ap"] for s in sizes] == pytest.approx(want[:, 1:].mean(0), abs=1e-6)
    assert sum(size["there"] for size in sizes.values()) == 220
    assert sum(size["f1@0.5"] < 1 for size in sizes.values()) == 3


def test_nothing_found_nothing_there_and_no_scores():
    nothing = segmentation(np.zeros((0, 6, 6), bool), np.zeros(0, int), np.zeros(0, np.float32))
    one = segmentation(np.ones((1, 6, 6), bool), [1], [0.5])
    scoreless = segmentation(np.ones((1, 6, 6), bool), [1])

    def ap(*pairs):
        evaluator = InstanceEvaluator(CELLS)
        for result, truth in pairs:
            evaluator.process([result], [truth])
        return evaluator.evaluate()["coco_ap"]

    assert ap((nothing, one)) == 0
    assert ap((one, one)) == pytest.approx(1)
    assert ap((one, one), (one, nothing)) == pytest.approx(1)  # equal scores, the first is right
    assert ap((one, nothing), (one, one)) == pytest.approx(0.5)
    for pairs in ([(nothing, nothing)], [(one, nothing)], [(scoreless, one)]):
        assert math.isnan(ap(*pairs))


def test_what_lies_in_ignored_pixels_is_neither_right_nor_wrong():
    masks = np.zeros((2, 6, 12), bool)
    masks[0, :, :4], masks[1, :, 6:] = True, True
    found = segmentation(masks, [1, 1], [0.5, 0.9])
    truth = segmentation(masks[:1], [1])
    ignored = torch.zeros(6, 12, dtype=torch.int64)

    def ap50(first_ignored):
        classes = ignored.clone()
        classes[:, first_ignored:] = 255
        evaluator = InstanceEvaluator(CELLS)
        evaluator.process([found], [Segmentation(classes, truth.instances)])
        return evaluator.evaluate()["coco_ap50"]

    assert ap50(12) == pytest.approx(0.5)
    assert ap50(6) == pytest.approx(1)
    assert ap50(9) == pytest.approx(1)  # half of it is
    assert ap50(10) == pytest.approx(0.5)


def in_turn(edges, count, void, crowd, thresholds):
    """As COCO says it: each detection looks at all objects, those that are void last."""
    chosen = np.full((len(void), len(thresholds), count), -1)
    fits = np.zeros((count, len(crowd)))
    fits[edges[0], edges[1]] = edges[2]
    for a, t, detection in np.ndindex(chosen.shape):
        gone = set(chosen[a, t, :detection])
        able = [
            (not void[a, o], fits[detection, o], o)
            for o in np.flatnonzero(fits[detection] >= thresholds[t])
            if crowd[o] or o not in gone
        ]
        chosen[a, t, detection] = max(able, default=(0, 0, -1))[2]
    return chosen


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("objects", [3, 12])
def test_every_detection_takes_the_best_object_that_is_left(seed, objects):
    random = np.random.default_rng(seed)
    count, thresholds = 25, np.array([0.5, 0.75, 0.9])
    pairs = np.argwhere(random.random((count, objects)) < 1.5 / objects)
    pairs = random.permutation(pairs)
    iou = 0.5 + random.integers(0, 5, len(pairs)) / 10  # some are equal
    edges = pairs[:, 0], pairs[:, 1], iou
    void, crowd = random.random((3, objects)) < 0.3, random.random(objects) < 0.2
    have = partners(edges, count, (void, crowd), thresholds)
    want = in_turn(edges, count, void, crowd, thresholds)
    np.testing.assert_array_equal(have, want)
    assert (want >= 0).any()
