from __future__ import annotations

import torch

from microtome.evaluation import confusion, format_table, scores
from microtome.structures import Classes

CLASSES = Classes(("background", "gland", "absent"))

WANT = """\
class          IoU    Dice  precision  recall
---------------------------------------------
background  0.6667  0.8000     0.6667  1.0000
gland       0.5000  0.6667     1.0000  0.5000
absent           -       -          -       -
---------------------------------------------
mean        0.5833  0.7333     0.8333  0.7500
pixel accuracy 0.7500"""


def test_by_hand():
    matrix = confusion(torch.tensor([0, 0, 1, 0]), torch.tensor([0, 0, 1, 1]), 3)
    assert format_table(scores(matrix, CLASSES.names), CLASSES) == WANT


def test_missing_numbers_are_dashes():
    lines = format_table({"miou": 0.5}, CLASSES).splitlines()
    assert lines[-2].split() == ["mean", "0.5000", "-", "-", "-"]
