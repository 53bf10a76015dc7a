"""Object metrics against dense computations and the definitions of others."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torchmetrics.detection import PanopticQuality

from microtome.evaluation import InstanceEvaluator, evaluate_instances
from microtome.evaluation.instance_matching import match
from microtome.evaluation.instance_scores import THRESHOLDS, instance_scores, tally
from microtome.evaluation.overlap import overlap, overlap_of_maps
from microtome.structures import Classes, Instances, LabelLayers, Segmentation

CELLS = Classes(("background", "cell"), things=(False, True))
KINDS = Classes(("background", "round", "flat"), things=(False, True, True))


def blobs(shape, seed):
    """Touching objects of about 6 pixels across, drawn: [*S] int64."""
    random = np.random.default_rng(seed)
    cells = np.zeros(shape, np.int64)
    for axis, size in enumerate(shape):
        along = np.cumsum(random.random(size) < 1 / 6)
        cells = cells * 50 + along.reshape(-1, *[1] * (len(shape) - 1 - axis))
    numbers = random.permutation(cells.max() + 1) + 1
    return torch.from_numpy(np.where(random.random(len(numbers)) < 0.6, numbers, 0)[cells])


def shaken(ids, seed):
    """The same objects moved by a pixel along one axis, some lost and two joined."""
    moved = torch.roll(ids, 1, seed % ids.ndim)
    numbers = moved.unique()[1:]
    moved[torch.isin(moved, numbers[::5])] = 0
    moved[moved == numbers[3]] = numbers[4]
    return moved


def segmentation(ids, labels=None, classes=None):
    masks = LabelLayers.from_ids(ids)
    labels = torch.ones(len(masks), dtype=torch.int64) if labels is None else labels
    return Segmentation(classes, Instances(labels, masks=masks))


def dense_iou(found, true):
    """[N, M] from N and M boolean masks."""
    a, b = (masks.tensor.flatten(1).double() for masks in (found, true))
    shared = a @ b.T
    return shared / (a.sum(1)[:, None] + b.sum(1)[None] - shared)


def published_matching(iou, threshold):
    """True positives and their summed IoU, by the matching StarDist documents."""
    iou = iou.numpy()
    count = min(iou.shape)
    if not count or not (iou >= threshold).any():
        return 0, 0.0
    cost = -(iou >= threshold).astype(float) - iou / (2 * count)
    rows, columns = linear_sum_assignment(cost)
    good = iou[rows, columns] >= threshold
    return int(good.sum()), float(iou[rows, columns][good].sum())


@pytest.mark.parametrize("shape", [(60, 70), (12, 30, 28)])
@pytest.mark.parametrize("seed", [0, 1])
def test_they_equal_a_dense_computation(shape, seed):
    true = blobs(shape, seed)
    found = shaken(true, seed)
    result, truth = segmentation(found), segmentation(true)
    numbers = evaluate_instances([result], [truth], CELLS)
    iou = dense_iou(result.instances.masks.dense(), truth.instances.masks.dense())
    for t in THRESHOLDS:
        hits, _ = published_matching(iou, t)
        either = iou.shape[0] + iou.shape[1] - hits
        assert numbers[f"ap_dsb@{t}"] == pytest.approx(hits / either)
        assert numbers[f"f1@{t}"] == pytest.approx(2 * hits / sum(iou.shape))
        assert numbers[f"precision@{t}"] == pytest.approx(hits / iou.shape[0])
        assert numbers[f"recall@{t}"] == pytest.approx(hits / iou.shape[1])
    hits, quality = (iou > 0.5).sum(), iou[iou > 0.5].sum()
    assert 3 < hits < min(iou.shape), "the test has objects that are matched and that are not"
    assert numbers["sq"] == pytest.approx(float(quality / hits))
    assert numbers["rq"] == pytest.approx(2 * int(hits) / sum(iou.shape))
    assert numbers["pq"] == numbers["mean_pq"] == numbers["pq/cell"]
    assert numbers["pq"] == pytest.approx(numbers["sq"] * numbers["rq"])


@pytest.mark.parametrize("shape", [(60, 70), (12, 30, 28)])
def test_panoptic_quality_of_classes_is_that_of_torchmetrics(shape):
    judge = PanopticQuality(things={1, 2}, stuffs={0}, return_per_class=True)
    evaluator = InstanceEvaluator(KINDS)
    for seed in range(3):
        true = blobs(shape, seed)
        found = shaken(true, seed)
        kinds = 1 + torch.arange(int(true.max()) + 1) % 2
        wrong = 1 + torch.arange(int(true.max()) + 1) % 7 % 2
        pairs = []
        for ids, kind in ((found, wrong), (true, kinds)):
            pairs.append([segmentation(ids, kind[ids.unique()[1:]])])
            pixels = torch.stack([kind[ids] * (ids > 0), ids], -1)
            pairs.append(pixels.view(1, -1, 1, 2))
        evaluator.process(pairs[0], pairs[2])
        judge.update(pairs[1], pairs[3])
    judged = judge.compute().flatten().tolist()
    ours = evaluator.evaluate()
    assert [ours["pq/round"], ours["pq/flat"]] == pytest.approx(judged[:2], rel=1e-6)
    assert ours["mean_pq"] == pytest.approx(sum(judged[:2]) / 2, rel=1e-6)
    assert 0.1 < ours["mean_pq"] < ours["pq"], "some objects have the right mask, the wrong class"


def test_low_thresholds_need_an_assignment():
    """One object of the result lies on two of the truth, in a chain; greedy would lose one."""
    true = torch.tensor([1, 1, 1, 1, 2, 2, 2, 2, 0, 0])
    found = torch.tensor([0, 5, 5, 5, 5, 5, 6, 6, 6, 6])
    table = overlap(LabelLayers.from_ids(found), LabelLayers.from_ids(true))
    chosen = match(table, 0.2)
    assert table.pairs[chosen].tolist() == [[0, 0], [1, 1]]
    assert table.iou[chosen].tolist() == pytest.approx([3 / 6, 2 / 6])
    random = torch.Generator().manual_seed(0)
    for _ in range(20):
        ids = torch.randint(0, 7, (2, 40), generator=random)
        one, two = (LabelLayers.from_ids(x.repeat_interleave(2)) for x in ids)
        table = overlap(one, two)
        for threshold in (0.05, 0.1, 0.2):
            chosen = match(table, threshold)
            hits, quality = published_matching(dense_iou(one.dense(), two.dense()), threshold)
            assert len(chosen) == hits
            assert float(table.iou[chosen].sum()) >= quality - 1e-9


def test_what_is_ignored_is_not_judged():
    true = torch.zeros(4, 12, dtype=torch.int64)
    true[:, 0:3] = 1
    true[:, 9:12] = 2
    found = torch.zeros_like(true)
    found[:, 0:6] = 1  # half of it lies where nothing is judged
    found[:, 6:8] = 2  # spurious, but all in what is ignored
    classes = torch.zeros(4, 12, dtype=torch.uint8)
    classes[:, 3:8] = 255
    classes[:, 9:12] = 255  # object 2 of the truth has no judged pixel
    numbers = evaluate_instances(
        [segmentation(found)], [segmentation(true, classes=classes)], CELLS
    )
    assert numbers["pq"] == numbers["ap_dsb@0.9"] == 1
    found[:, 8] = 2  # a third of it is judged now: still spared, as most is ignored
    assert (
        evaluate_instances([segmentation(found)], [segmentation(true, classes=classes)], CELLS)[
            "pq"
        ]
        == 1
    )
    classes[:, 7] = 0  # and now most of it is judged
    numbers = evaluate_instances(
        [segmentation(found)], [segmentation(true, classes=classes)], CELLS
    )
    assert numbers["ap_dsb@0.5"] == 1 / 2


def test_exactly_half_counts_for_ap_and_not_for_panoptic_quality():
    true, found = torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0])
    numbers = evaluate_instances([segmentation(found)], [segmentation(true)], CELLS)
    assert numbers["ap_dsb@0.5"] == numbers["f1@0.5"] == 1
    assert numbers["pq"] == numbers["rq"] == numbers["ap_dsb@0.75"] == 0
    assert math.isnan(numbers["sq"])


def test_nothing_found_and_nothing_there():
    nothing, one = torch.zeros(3, 3, dtype=torch.int64), torch.eye(3, dtype=torch.int64)
    both = evaluate_instances([segmentation(nothing)], [segmentation(nothing)], CELLS)
    assert all(math.isnan(v) for k, v in both.items() if "count" not in k)
    missed = evaluate_instances([segmentation(nothing)], [segmentation(one)], CELLS)
    assert missed["ap_dsb@0.5"] == missed["pq"] == missed["recall@0.5"] == 0
    assert math.isnan(missed["precision@0.5"])
    spurious = evaluate_instances([segmentation(one)], [segmentation(nothing)], CELLS)
    assert spurious["ap_dsb@0.5"] == spurious["f1@0.9"] == spurious["precision@0.5"] == 0
    assert math.isnan(spurious["recall@0.5"])
    evaluator = InstanceEvaluator(CELLS)
    evaluator.process(
        [segmentation(nothing), segmentation(one)], [segmentation(nothing), segmentation(one)]
    )
    assert evaluator.evaluate()["pq"] == 1, "an image without objects changes nothing"
    assert math.isnan(evaluator.rows[0][1]["pq"])
    assert evaluator.rows[1][1]["pq"] == 1


def test_classes_without_objects_are_left_out_of_means():
    ids = torch.tensor([1, 1, 0, 2])
    result = segmentation(ids, torch.tensor([1, 1]))
    numbers = evaluate_instances([result], [result], KINDS)
    assert numbers["mean_pq"] == numbers["pq/round"] == 1
    assert math.isnan(numbers["pq/flat"])
    assert "pq/background" not in numbers
    with pytest.raises(ValueError, match="the result has objects of class 3; there are classes 0"):
        evaluate_instances([segmentation(ids, torch.tensor([1, 3]))], [result], KINDS)


def test_objects_that_overlap_lie_in_layers():
    layers = torch.zeros(2, 3, 8, dtype=torch.int32)
    layers[0, :, 0:5], layers[1, :, 3:8] = 1, 2
    both = Instances(torch.tensor([1, 1]), masks=LabelLayers(layers, torch.tensor([7, 9])))
    flat = torch.zeros(3, 8, dtype=torch.int64)
    flat[:, 0:3], flat[:, 3:8] = 1, 2
    table = overlap(both.masks, LabelLayers.from_ids(flat))
    assert table.found_area.tolist() == [15, 15]
    assert table.true_area.tolist() == [9, 15]
    shared = {
        tuple(pair): int(n) for pair, n in zip(table.pairs.tolist(), table.shared, strict=True)
    }
    assert shared == {(0, 0): 9, (0, 1): 6, (1, 1): 15}
    turned = overlap(LabelLayers.from_ids(flat), both.masks)
    assert turned.true_area.tolist() == [15, 15]
    assert sorted(turned.shared.tolist()) == [6, 9, 15]
    same = evaluate_instances([Segmentation(instances=both)], [Segmentation(instances=both)], CELLS)
    assert same["pq"] == 1


def test_blocks_of_maps_add_up():
    """Objects in several blocks, and ids above 2^32."""
    true = blobs((24, 30, 32), 3)
    found = shaken(true, 3)
    found[found > 0] += 2**40
    whole, found_ids, true_ids = overlap_of_maps([(found, true)])
    blocks = [
        (found[:7], true[:7]),
        (found[7:, :20], true[7:, :20]),
        (found[7:, 20:], true[7:, 20:]),
    ]
    parts, *ids = overlap_of_maps(blocks)
    assert torch.equal(ids[0], found.unique()[1:]) and torch.equal(ids[1], true.unique()[1:])
    assert torch.equal(found_ids, ids[0]) and torch.equal(true_ids, ids[1])
    for one, other in zip(whole, parts, strict=True):
        assert torch.equal(one, other)
    layered = overlap(LabelLayers.from_ids(found), LabelLayers.from_ids(true))
    for one, other in zip(whole, layered, strict=True):
        assert torch.equal(one, other)
    empty, none, _ = overlap_of_maps([])
    assert len(empty.shared) == len(none) == 0
    with pytest.raises(ValueError, match="got negative"):
        overlap_of_maps([(torch.tensor([-1]), torch.tensor([0]))])


@pytest.mark.parametrize("shape", [(37, 41), (6, 20, 21)])
def test_objects_in_several_layers_overlap_as_their_masks_do(shape):
    discs = [blobs(shape, seed) for seed in range(3)]
    found, true = (
        LabelLayers.cat([LabelLayers.from_ids(one) for one in parts])
        for parts in (discs, discs[1:])
    )
    ignored = torch.from_numpy(np.random.default_rng(0).random(shape) < 0.2)
    ours, theirs = (layers.dense().tensor.flatten(1).long() for layers in (found, true))
    judged = (~ignored).flatten().long()
    shared = ours * judged @ theirs.T
    table = overlap(found, true, ignored)
    assert len(found.maps) == 3 and shared.count_nonzero() > len(true)
    assert torch.equal(
        torch.zeros_like(shared).index_put_(tuple(table.pairs.T), table.shared), shared
    )
    assert torch.equal(table.found_area, ours @ judged)
    assert torch.equal(table.true_area, theirs @ judged)
    assert torch.equal(table.ignored_area, ours @ (1 - judged))


def test_mistakes_are_named():
    one, two = torch.eye(3, dtype=torch.int64), torch.eye(4, dtype=torch.int64)
    with pytest.raises(ValueError, match="one shape"):
        evaluate_instances([segmentation(one)], [segmentation(two)], CELLS)
    with pytest.raises(ValueError, match="the result has no `instances`"):
        evaluate_instances([Segmentation()], [segmentation(two)], CELLS)
    bare = Segmentation(instances=Instances(torch.tensor([1])))
    with pytest.raises(ValueError, match="the truth have no masks"):
        evaluate_instances([segmentation(one)], [bare], CELLS)
    table = overlap(LabelLayers.from_ids(one), LabelLayers.from_ids(one))
    with pytest.raises(ValueError, match="threshold 0 is not in"):
        tally(table, torch.ones(1), torch.ones(1), 2, [0])


def test_many_objects_take_no_square_of_memory():
    """20,000 objects: a table of all with all would have 400 million entries."""
    ids = torch.arange(1, 20_001).repeat_interleave(4).view(200, 400)
    numbers = evaluate_instances([segmentation(ids)], [segmentation(ids.flip(1).flip(1))], CELLS)
    assert numbers["pq"] == 1


def test_numbers_of_a_tally_by_hand():
    ids = torch.tensor([1, 1, 1, 1, 2, 2, 0, 3])
    table = overlap(
        LabelLayers.from_ids(torch.tensor([1, 1, 1, 0, 2, 2, 4, 0])), LabelLayers.from_ids(ids)
    )
    numbers = instance_scores(tally(table, torch.ones(3), torch.ones(3), 2), {})
    assert numbers["ap_dsb@0.5"] == 2 / 4  # 2 matched, 1 spurious, 1 missed
    assert numbers["ap_dsb@0.9"] == 1 / 5  # IoU 3/4 is not enough
    assert numbers["sq"] == pytest.approx((3 / 4 + 1) / 2)
    assert numbers["pq"] == pytest.approx((3 / 4 + 1) / (2 + 0.5 + 0.5))
