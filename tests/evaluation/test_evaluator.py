from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from microtome.evaluation import SemanticEvaluator, evaluate
from microtome.structures import Classes, Segmentation

CLASSES = Classes(("back", "front"))


def pair(result, truth):
    return Segmentation(torch.tensor(result)), Segmentation(torch.tensor(truth))


def test_pooled_and_per_image():
    one, two = pair([[0, 1], [1, 1]], [[0, 1], [0, 255]]), pair([[1, 1]], [[1, 1]])
    evaluator = SemanticEvaluator(CLASSES)
    evaluator.process([one[0], two[0]], [one[1], two[1]], ["one", "two"])
    numbers = evaluator.evaluate()
    assert numbers["pixel_accuracy"] == pytest.approx(4 / 5)
    assert numbers["iou/front"] == pytest.approx(3 / 4)
    assert numbers["miou"] == pytest.approx((1 / 2 + 3 / 4) / 2)
    rows = dict(evaluator.rows)
    assert rows["one"]["pixel_accuracy"] == pytest.approx(2 / 3)
    assert rows["two"]["miou"] == rows["two"]["mean_dice"] == 1
    evaluator.reset()
    assert not evaluator.rows
    evaluator.process([two[0]], [two[1]])
    assert evaluator.evaluate()["pixel_accuracy"] == 1


@pytest.mark.parametrize("shape", [(9, 7), (3, 8, 5)])
def test_scores_are_decided_first(shape):
    torch.manual_seed(0)
    truth = torch.randint(0, 2, shape)
    scores = F.one_hot(truth, 2).movedim(-1, 0).float()
    found = evaluate([Segmentation(scores=scores)], [Segmentation(truth)], CLASSES)
    assert found["miou"] == found["dice/front"] == 1


def test_mistakes_are_named():
    one, two = pair([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="differ in shape"):
        evaluate([one], [two], CLASSES)
    with pytest.raises(ValueError, match="the truth has neither"):
        evaluate([one], [Segmentation()], CLASSES)
    with pytest.raises(ValueError, match="zip"):
        evaluate([one], [], CLASSES)
