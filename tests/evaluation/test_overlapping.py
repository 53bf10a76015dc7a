"""Numbers of classes that overlap, against torchmetrics and by hand."""

import pytest
import torch
from torchmetrics.functional.classification import (
    multilabel_f1_score,
    multilabel_jaccard_index,
    multilabel_specificity,
)

from microtome.evaluation import evaluator_of, format_table
from microtome.structures import Classes, Segmentation, members

CLASSES = Classes.overlapping(("gland", "tumour", "lumen"))


def evaluated(results, truths):
    evaluator = evaluator_of(CLASSES, objects=False)
    evaluator.process(map(Segmentation, results), map(Segmentation, truths))
    return evaluator


@pytest.mark.parametrize("shape", [(9, 7), (3, 8, 5)])
def test_each_class_is_judged_as_torchmetrics_does(shape):
    generator = torch.Generator().manual_seed(0)
    results, truths = torch.randint(8, (2, 4, *shape), generator=generator)
    truths[0, 0] = 255
    numbers = evaluated(results, truths).evaluate()
    judged = truths != 255
    found, true = members(results[judged], 3, 255), members(truths[judged], 3, 255)
    for key, theirs in [
        ("iou", multilabel_jaccard_index),
        ("dice", multilabel_f1_score),
        ("specificity", multilabel_specificity),
    ]:
        expected = theirs(found, true, 3, average="none").tolist()
        ours = [numbers[f"{key}/{name}"] for name in CLASSES.members]
        assert ours == pytest.approx(expected, abs=1e-6), key
    assert numbers["pixel_accuracy"] == pytest.approx(
        float((found == true).all(-1).double().mean())
    )


def test_by_hand():
    evaluator = evaluated([torch.tensor([0, 1, 3, 3])], [torch.tensor([1, 1, 1, 3])])
    numbers = evaluator.evaluate()
    assert numbers["iou/gland"] == pytest.approx(3 / 4)
    assert numbers["recall/tumour"] == 1 and numbers["precision/tumour"] == 0.5
    assert numbers["pixel_accuracy"] == 0.5 and numbers["iou/lumen"] != numbers["iou/lumen"]
    assert evaluator.rows[0][1]["miou"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    table = format_table(numbers, CLASSES)
    assert "tumour" in table and "none" not in table


def test_scores_are_decided_and_maps_are_needed():
    evaluator = evaluator_of(CLASSES, objects=False)
    scores = torch.eye(8)[:, :5]  # pixel n is most probably set n
    evaluator.process([Segmentation(scores=scores)], [Segmentation(torch.arange(5))])
    assert evaluator.evaluate()["pixel_accuracy"] == 1
    with pytest.raises(ValueError, match="the truth has neither"):
        evaluator.process([Segmentation(scores=scores)], [Segmentation()])
