"""Surfaces beside pixels, over several images."""

from __future__ import annotations

import math

import pytest
import torch

from microtome.evaluation import SemanticEvaluator, SurfaceEvaluator, format_table
from microtome.structures import Classes, Segmentation

CLASSES = Classes(("back", "plate", "absent"))


def plate(shape, moved=0):
    """Two planes of class 1 along the first axis."""
    classes = torch.zeros(shape, dtype=torch.int64)
    classes[3 + moved : 5 + moved] = 1
    return Segmentation(classes)


@pytest.mark.parametrize("shape", [(12, 9), (12, 7, 5)])
def test_means_over_images_each_with_its_spacing(shape):
    truths = [plate(shape)] * 3
    results = [plate(shape), plate(shape, 2), plate(shape, 2)]
    spacings = [None, (3.0,) * len(shape), None]
    evaluator = SurfaceEvaluator(CLASSES, tolerance=1.5, spacing=0.5)
    evaluator.process(results, truths, ["right", "far", "near"], spacings)
    numbers, rows = evaluator.evaluate(), dict(evaluator.rows)
    assert rows["right"]["hd95/plate"] == 0 and rows["right"]["surface_dice/plate"] == 1
    assert rows["far"]["hd95/plate"] == 6 and rows["far"]["surface_dice/plate"] == 0
    assert rows["near"]["hd95/plate"] == 1 and rows["near"]["surface_dice/plate"] == 1
    assert numbers["hd95/plate"] == pytest.approx(7 / 3)
    assert numbers["surface_dice/plate"] == pytest.approx(2 / 3)
    assert math.isnan(numbers["hd95/absent"]) and math.isnan(rows["far"]["hd95/absent"])
    both = [numbers["hd95/back"], numbers["hd95/plate"]]
    assert numbers["mean_hd95"] == pytest.approx(sum(both) / 2)
    low, high = evaluator.intervals(draws=200)["hd95/plate"]
    assert 0 <= low < 7 / 3 < high <= 6
    pixels = SemanticEvaluator(CLASSES)
    pixels.process(results, truths)
    for key, value in pixels.evaluate().items():
        assert numbers[key] == pytest.approx(value, nan_ok=True)
    lines = format_table(numbers, CLASSES).splitlines()
    assert lines[0].endswith("HD95 µm  surface Dice")
    assert lines[3].split()[-2:] == ["2.3333", "0.6667"]
    assert lines[4].split() == ["absent", *["-"] * 7]


def test_without_a_spacing_nothing_is_said():
    evaluator = SurfaceEvaluator(CLASSES, tolerance=1)
    with pytest.raises(ValueError, match="spacing is not known"):
        evaluator.process([plate((12, 9))], [plate((12, 9))])
    assert math.isnan(evaluator.evaluate()["mean_hd95"])
    with pytest.raises(ValueError, match="expected 1 or 2 values"):
        SurfaceEvaluator(CLASSES, 1, (1.0, 1.0, 1.0)).process([plate((9, 9))], [plate((9, 9))])
