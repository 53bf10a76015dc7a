from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.classification import MulticlassF1Score, MulticlassPrecision
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_cohen_kappa,
    multiclass_confusion_matrix,
    multiclass_jaccard_index,
    multiclass_matthews_corrcoef,
    multiclass_specificity,
)
from torchmetrics.segmentation import MeanIoU

from microtome.evaluation import ConfusionMatrix, confusion, scores

KEYS = ("iou", "dice", "precision", "recall", "specificity")
TRUTH = torch.tensor([[0, 0, 0, 0], [1, 1, 2, 255]])
RESULT = torch.tensor([[0, 0, 0, 1], [1, 0, 2, 2]])


def maps(shape, count, seed=0, ignored=0.1, ignore_index=255):
    torch.manual_seed(seed)
    truth, result = torch.randint(0, count, (2, *shape))
    result = torch.where(torch.rand(shape) < 0.6, truth, result)
    return result, truth.masked_fill(torch.rand(shape) < ignored, ignore_index)


def test_by_hand():
    matrix = confusion(RESULT, TRUTH, 3)
    assert matrix.tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 1]]
    numbers = scores(matrix, ("a", "b", "c"))
    assert numbers["iou/a"] == pytest.approx(3 / 5)
    assert numbers["iou/b"] == pytest.approx(1 / 3)
    assert numbers["dice/a"] == pytest.approx(6 / 8)
    assert numbers["precision/b"] == numbers["recall/b"] == pytest.approx(1 / 2)
    assert numbers["miou"] == pytest.approx((3 / 5 + 1 / 3 + 1) / 3)
    assert numbers["mean_dice"] == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert numbers["pixel_accuracy"] == pytest.approx(5 / 7)
    assert numbers["mean_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert numbers["fwiou"] == pytest.approx((4 * 3 / 5 + 2 / 3 + 1) / 7)
    assert numbers["specificity/a"] == pytest.approx(2 / 3)
    assert numbers["mean_specificity"] == pytest.approx((2 / 3 + 4 / 5 + 1) / 3)
    by_chance = (4 * 4 + 2 * 2 + 1) / 49
    assert numbers["kappa"] == pytest.approx((5 / 7 - by_chance) / (1 - by_chance))
    assert numbers["mcc"] == pytest.approx((5 * 7 - 21) / (49 - 21)), "rows and columns sum alike"


@pytest.mark.parametrize("shape", [(50,), (40, 30), (6, 20, 30)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_equals_torchmetrics(shape, dtype):
    result, truth = maps(shape, 5)
    matrix = confusion(result.to(dtype), truth.to(dtype), 5)
    want = multiclass_confusion_matrix(result, truth, 5, ignore_index=255)
    assert torch.equal(matrix, want)
    numbers = scores(matrix, "abcde")
    known = {"num_classes": 5, "ignore_index": 255}
    macro = multiclass_jaccard_index(result, truth, **known).item()
    assert numbers["miou"] == pytest.approx(macro, abs=1e-6)
    f1 = MulticlassF1Score(average=None, **known)(result, truth)
    precision = MulticlassPrecision(average=None, **known)(result, truth)
    accuracy = multiclass_accuracy(result, truth, average="micro", **known).item()
    assert numbers["pixel_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    for name, dice, value in zip("abcde", f1.tolist(), precision.tolist(), strict=True):
        assert numbers[f"dice/{name}"] == pytest.approx(dice, abs=1e-6)
        assert numbers[f"precision/{name}"] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("shape", [(400,), (6, 20, 30)])
def test_agreement_equals_torchmetrics(shape):
    result, truth = maps(shape, 4, seed=2)
    numbers = scores(confusion(result, truth, 4), "abcd")
    known = {"num_classes": 4, "ignore_index": 255}
    kappa, mcc = (
        judge(result, truth, **known).item()
        for judge in (multiclass_cohen_kappa, multiclass_matthews_corrcoef)
    )
    assert (numbers["kappa"], numbers["mcc"]) == pytest.approx((kappa, mcc), abs=1e-6)
    specificity = multiclass_specificity(result, truth, average=None, **known).tolist()
    assert [numbers[f"specificity/{name}"] for name in "abcd"] == pytest.approx(specificity)
    recall = multiclass_accuracy(result, truth, average="macro", **known).item()
    assert numbers["mean_accuracy"] == pytest.approx(recall, abs=1e-6)


def test_equals_scikit_learn():
    judge = pytest.importorskip("sklearn.metrics")
    result, truth = maps((30, 40), 5, seed=3)
    numbers = scores(confusion(result, truth, 5), "abcde")
    judged = truth != 255
    pair = truth[judged].numpy(), result[judged].numpy()
    each = zip(*judge.precision_recall_fscore_support(*pair)[:3], strict=True)
    for name, wanted in zip("abcde", each, strict=True):
        own = [numbers[f"{key}/{name}"] for key in ("precision", "recall", "dice")]
        assert own == pytest.approx(wanted)
    assert numbers["mean_accuracy"] == pytest.approx(judge.balanced_accuracy_score(*pair))
    assert numbers["kappa"] == pytest.approx(judge.cohen_kappa_score(*pair))
    assert numbers["mcc"] == pytest.approx(judge.matthews_corrcoef(*pair))
    assert numbers["fwiou"] == pytest.approx(judge.jaccard_score(*pair, average="weighted"))


@pytest.mark.parametrize(
    ("result", "truth", "wanted"),
    [
        ([0, 0, 0], [0, 1, 0], 0),
        ([0, 1, 0], [0, 0, 0], 0),
        ([1, 1, 1], [0, 0, 0], 0),
        ([0, 0, 0], [0, 0, 0], math.nan),
        ([1, 0, 0], [0, 1, 1], -1),
    ],
)
def test_one_class_alone_is_no_better_than_chance(result, truth, wanted):
    numbers = scores(confusion(torch.tensor(result), torch.tensor(truth), 2), "ab")
    assert numbers["mcc"] == pytest.approx(wanted, nan_ok=True)
    assert numbers["kappa"] == pytest.approx(-0.8 if wanted == -1 else wanted, nan_ok=True)


def test_equals_the_mean_iou_of_torchmetrics_which_is_that_of_one_image():
    random = torch.Generator().manual_seed(1)
    truth = torch.randint(6, (1, 40, 50), generator=random)
    result = torch.where(torch.rand(truth.shape, generator=random) < 0.6, truth, truth.roll(1))
    peer = MeanIoU(num_classes=6, input_format="index")
    peer.update(result, truth)
    ours = scores(confusion(result, truth, 6), "abcdef")["miou"]
    assert ours == pytest.approx(peer.compute().item(), abs=1e-6)


@pytest.mark.parametrize(("count", "ignore_index"), [(300, 999), (4, -100), (300, 65535)])
def test_wide_values(count, ignore_index):
    result, truth = maps((60, 60), count, ignore_index=ignore_index)
    want = multiclass_confusion_matrix(result, truth, count, ignore_index=ignore_index)
    assert torch.equal(confusion(result, truth, count, ignore_index), want)


def test_an_absent_class_is_nan_and_not_in_the_means():
    truth = torch.tensor([0, 0, 1, 1])
    result = torch.tensor([0, 0, 1, 3])
    numbers = scores(confusion(result, truth, 4), ("a", "b", "gone", "stray"))
    assert all(math.isnan(numbers[f"{k}/gone"]) for k in KEYS)
    assert numbers["iou/stray"] == numbers["dice/stray"] == numbers["precision/stray"] == 0
    assert math.isnan(numbers["recall/stray"])
    assert numbers["specificity/stray"] == pytest.approx(3 / 4)
    assert numbers["miou"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert numbers["mean_accuracy"] == pytest.approx((1 + 0.5) / 2)


def test_a_class_never_found_has_no_precision():
    numbers = scores(confusion(torch.tensor([0, 0]), torch.tensor([0, 1]), 2), ("a", "b"))
    assert numbers["precision/b"] == numbers["recall/b"] == 0
    assert numbers["mean_precision"] == pytest.approx(0.25)


@pytest.mark.parametrize("size", [0, 9])
def test_nothing_judged_is_nan_without_a_warning(size):
    ignored = torch.full((size,), 255)
    matrix = confusion(torch.zeros_like(ignored), ignored, 2)
    assert matrix.sum() == 0
    assert all(math.isnan(value) for value in scores(matrix, ("a", "b")).values())


def test_an_ignored_result_at_an_ignored_pixel_is_fine():
    truth = torch.tensor([0, 1, 255])
    assert confusion(truth, truth, 2).tolist() == [[1, 0], [0, 1]]


def test_what_is_no_class_is_refused():
    zeros = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match="truth: expected classes 0 to 1, found also 7, 200"):
        confusion(zeros, torch.tensor([0, 7, 200, 255]), 2)
    with pytest.raises(ValueError, match=r"result: .* found also 255"):
        confusion(torch.tensor([0, 0, 0, 255]), zeros, 2)
    with pytest.raises(ValueError, match=r"truth: .* found also -1, 300"):
        confusion(zeros, torch.tensor([0, -1, 300, 255]), 2)
    with pytest.raises(ValueError, match="differ in shape"):
        confusion(zeros, zeros[:3], 2)
    with pytest.raises(TypeError, match="integers"):
        confusion(zeros.float(), zeros, 2)
    with pytest.raises(ValueError, match="3 classes but"):
        scores(torch.zeros(2, 2), ("a", "b", "c"))


def test_the_metric_pools_pixels():
    metric = ConfusionMatrix(5)
    parts = [maps((20, 30), 5, seed) for seed in range(3)]
    for result, truth in parts:
        metric.update(result, truth)
    want = sum(confusion(result, truth, 5) for result, truth in parts)
    assert torch.equal(metric.compute(), want)
    metric.reset()
    metric.update(*parts[0])
    assert torch.equal(metric.compute(), confusion(*parts[0], 5))
