"""AJI, AJI+, Dice over objects, counts and merged objects, from their published definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from microtome.evaluation import InstanceEvaluator, evaluate, evaluate_instances
from microtome.structures import Classes, Instances, LabelLayers, Segmentation

CELLS = Classes(("background", "cell"), things=(False, True))
KINDS = Classes(("background", "round", "flat"), things=(False, True, True))


def cells(shape, seed, size=6):
    """Voronoi cells of random points, two thirds of them objects: [*S] int64."""
    random = np.random.default_rng(seed)
    count = int(np.prod(shape) / size ** len(shape))
    points = random.random((count, len(shape))) * shape
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    near = ((grid[..., None, :] - points) ** 2).sum(-1).argmin(-1)
    numbers = np.where(random.random(count) < 0.66, random.permutation(count) + 1, 0)
    return torch.from_numpy(numbers[near])


def pair(shape, seed):
    true = cells(shape, seed)
    found = torch.roll(true, 2, seed % len(shape))
    found[torch.isin(found, found.unique()[1::5])] = 0
    return found, true


def segmentation(ids, labels=None, classes=None):
    masks = LabelLayers.from_ids(ids)
    labels = torch.ones(len(masks), dtype=torch.int64) if labels is None else labels
    return Segmentation(classes, Instances(labels, masks=masks))


def tables(found, true):
    """[N, M] shared pixels; [N] and [M] areas."""
    a, b = (LabelLayers.from_ids(ids).dense().tensor.flatten(1).double() for ids in (found, true))
    return (a @ b.T).numpy(), a.sum(1).numpy(), b.sum(1).numpy()


def kumar(shared, found, true):
    """Kumar et al., 2017: C and U."""
    inside, union, used = 0.0, 0.0, set()
    for j in range(len(true)):
        iou = shared[:, j] / (found + true[j] - shared[:, j])
        best = int(iou.argmax()) if len(iou) and iou.max() > 0 else None
        if best is None:
            union += true[j]
            continue
        inside += shared[best, j]
        union += found[best] + true[j] - shared[best, j]
        used.add(best)
    return inside, union + sum(found[i] for i in range(len(found)) if i not in used)


def graham(shared, found, true):
    """Graham et al., 2019: as Kumar, objects paired once, for the highest sum of IoU."""
    iou = shared / (found[:, None] + true[None] - shared)
    rows, columns = linear_sum_assignment(iou, maximize=True)
    paired = iou[rows, columns] > 0
    rows, columns = rows[paired], columns[paired]
    inside = shared[rows, columns].sum()
    return inside, found.sum() + true.sum() - inside


def glas(shared, found, true):
    """Sirinukunwattana et al., 2017: object-level Dice."""

    def side(table, own, other):
        best = table.argmax(1)
        dice = 2 * table[np.arange(len(own)), best] / (own + other[best])
        return (own / own.sum() * dice).sum()

    return (side(shared, found, true) + side(shared.T, true, found)) / 2


@pytest.mark.parametrize("shape", [(50, 60), (16, 22, 24)])
@pytest.mark.parametrize("seed", [0, 1])
def test_they_follow_their_definitions(shape, seed):
    found, true = pair(shape, seed)
    numbers = evaluate_instances([segmentation(found)], [segmentation(true)], CELLS)
    table = tables(found, true)
    for key, definition in (("aji", kumar), ("aji_plus", graham)):
        inside, union = definition(*table)
        assert numbers[key] == pytest.approx(inside / union)
    assert numbers["object_dice"] == pytest.approx(glas(*table))
    assert numbers["aji"] == numbers["aji/cell"] == numbers["mean_aji"]
    assert 0.1 < numbers["aji"] != numbers["aji_plus"] < 0.9
    merged = evaluate([Segmentation((found > 0).long())], [Segmentation((true > 0).long())], CELLS)
    assert numbers["merged_iou"] == pytest.approx(merged["iou/cell"])
    assert numbers["merged_dice"] == pytest.approx(merged["dice/cell"])
    assert numbers["count_error"] == len(table[2]) - len(table[1]) == -numbers["count_bias"] > 0


def test_classes_are_scored_apart():
    found, true = pair((60, 60), 0)
    kinds = 1 + torch.arange(int(true.max()) + 1) % 2
    numbers = evaluate_instances(
        [segmentation(found, kinds[found.unique()[1:]])],
        [segmentation(true, kinds[true.unique()[1:]])],
        KINDS,
    )
    for kind, name in ((1, "round"), (2, "flat")):
        own = [torch.where(kinds[ids] == kind, ids, 0) for ids in (found, true)]
        alone = evaluate_instances([segmentation(own[0])], [segmentation(own[1])], CELLS)
        for key in ("aji", "aji_plus", "object_dice", "merged_iou", "count_error"):
            assert numbers[f"{key}/{name}"] == pytest.approx(alone[key])
    assert numbers["mean_aji"] == pytest.approx((numbers["aji/round"] + numbers["aji/flat"]) / 2)


def test_by_hand():
    true = torch.tensor([1, 1, 1, 1, 2, 2, 0, 0])
    found = torch.tensor([1, 1, 1, 1, 1, 1, 0, 2])  # one lies over both, one over nothing
    numbers = evaluate_instances([segmentation(found)], [segmentation(true)], CELLS)
    assert numbers["aji"] == pytest.approx((4 + 2) / (6 + 6 + 1))
    assert numbers["aji_plus"] == pytest.approx(4 / (6 + 2 + 1))
    assert numbers["object_dice"] == pytest.approx(
        ((4 * 8 / 10 + 2 * 4 / 8) / 6 + (6 * 8 / 10) / 7) / 2
    )
    assert numbers["merged_iou"] == 6 / 7
    assert numbers["count_error"] == 0


def test_nothing_found_and_nothing_there():
    nothing, one = (segmentation(torch.full((4,), n)) for n in (0, 1))
    keys = ("aji", "aji_plus", "object_dice", "merged_iou", "merged_dice")
    for result, truth in ((nothing, one), (one, nothing)):
        numbers = evaluate_instances([result], [truth], CELLS)
        assert [numbers[key] for key in keys] == [0] * 5
        assert numbers["count_error"] == 1
    numbers = evaluate_instances([nothing], [nothing], CELLS)
    assert all(math.isnan(numbers[key]) for key in keys)
    assert numbers["count_error"] == 0


def test_what_is_ignored_weighs_nothing():
    true = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0])
    found = torch.tensor([1, 1, 1, 1, 0, 2, 2, 2])
    classes = torch.tensor([0, 0, 0, 255, 0, 0, 255, 255])
    numbers = evaluate_instances(
        [segmentation(found)], [segmentation(true, classes=classes)], CELLS
    )
    assert numbers["aji"] == numbers["aji_plus"] == numbers["object_dice"] == 1
    assert numbers["merged_iou"] == 3 / 4, "pixels are judged one by one"


def test_intervals_are_those_of_drawing_images_again():
    evaluator = InstanceEvaluator(CELLS)
    images = [tuple(map(segmentation, pair((24, 24), seed))) for seed in range(6)]
    for result, truth in images:
        scores = torch.linspace(0, 1, len(result.instances))
        result = Segmentation(
            instances=Instances(
                result.instances.labels, scores=scores, masks=result.instances.masks
            )
        )
        evaluator.process([result], [truth])
    intervals = evaluator.intervals(draws=200, seed=1)
    assert intervals == evaluator.intervals(draws=200, seed=1)
    numbers = evaluator.evaluate()
    for key in ("pq", "aji", "coco_ap50", "merged_dice", "f1@0.5"):
        low, high = intervals[key]
        assert low <= numbers[key] <= high and low < high
    chance = np.random.default_rng(1)
    drawn = chance.multinomial(6, [1 / 6] * 6, 200)
    again = []
    for counts in drawn:
        twice = InstanceEvaluator(CELLS)
        twice.scores = [s for s, n in zip(evaluator.scores, counts, strict=True) for _ in range(n)]
        twice._named = [None] * 6
        again.append([twice.evaluate()[key] for key in ("pq", "aji", "coco_ap50")])
    ends = np.quantile(np.array(again), [0.025, 0.975], axis=0)
    for key, (low, high) in zip(("pq", "aji", "coco_ap50"), ends.T, strict=True):
        tolerance = 1e-9 if key != "coco_ap50" else 0.02  # of two equal scores one jumps ahead
        assert intervals[key] == pytest.approx((low, high), abs=tolerance)
    evaluator.reset()
    evaluator.process(*([one] for one in images[0]))
    assert all(math.isnan(low) for low, _ in evaluator.intervals().values())
