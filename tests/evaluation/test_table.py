from __future__ import annotations

import torch

from microtome.evaluation import (
    confusion,
    evaluate_instances,
    format_object_table,
    format_table,
    scores,
)
from microtome.structures import Classes, Instances, LabelLayers, Segmentation

CLASSES = Classes(("background", "gland", "absent"))

WANT = """\
class          IoU    Dice  precision  recall  specificity
----------------------------------------------------------
background  0.6667  0.8000     0.6667  1.0000       0.5000
gland       0.5000  0.6667     1.0000  0.5000       1.0000
absent           -       -          -       -            -
----------------------------------------------------------
mean        0.5833  0.7333     0.8333  0.7500       0.7500
pixel accuracy 0.7500, IoU by true pixels 0.5833, kappa 0.5000, Matthews 0.5774"""


def test_by_hand():
    matrix = confusion(torch.tensor([0, 0, 1, 0]), torch.tensor([0, 0, 1, 1]), 3)
    assert format_table(scores(matrix, CLASSES.names), CLASSES) == WANT


def test_missing_numbers_are_dashes():
    lines = format_table({"miou": 0.5}, CLASSES).splitlines()
    assert lines[-2].split() == ["mean", "0.5000", "-", "-", "-", "-"]


WANT_OBJECTS = """\
class          PQ      SQ      RQ  F1@0.5  AP_dsb@0.5  AP_dsb@0.75  AP_dsb@0.9  AP_coco     AJI
-----------------------------------------------------------------------------------------------
gland      0.5333  0.8000  0.6667  0.6667      0.5000       0.5000      0.0000        -  0.6667
-----------------------------------------------------------------------------------------------
mean       0.5333  0.8000  0.6667  0.6667      0.5000       0.5000      0.0000        -  0.6667
any class  0.5333  0.8000  0.6667  0.6667      0.5000       0.5000      0.0000        -  0.6667"""


def test_objects_by_hand():
    """One found with 4 of 5 pixels, one missed."""
    true, found = torch.tensor([1, 1, 1, 1, 1, 0, 2]), torch.tensor([1, 1, 1, 1, 0, 0, 0])
    maps = [LabelLayers.from_ids(ids) for ids in (found, true)]
    result, truth = (
        Segmentation(instances=Instances(torch.ones(len(m), dtype=torch.int64), masks=m))
        for m in maps
    )
    assert format_object_table(evaluate_instances([result], [truth], CLASSES), CLASSES) == (
        WANT_OBJECTS
    )
