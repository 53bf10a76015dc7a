"""Result and truth to numbers, tables and pictures."""

from typing import Any

from ..structures import Classes
from .baselines import ConstantClass, NearestMeanColour, Otsu
from .confusion import ConfusionMatrix, confusion, scores
from .curves import curves
from .evaluator import DatasetEvaluator
from .instance_evaluator import InstanceEvaluator, evaluate_instances
from .instance_scores import instance_scores
from .object_pictures import object_overlay
from .otsu_watershed import OtsuWatershed
from .overlap import Overlap, overlap, overlap_of_maps
from .overlapping import OverlappingEvaluator
from .pictures import overlay
from .semantic_evaluator import SemanticEvaluator, evaluate
from .surface_evaluator import SurfaceEvaluator
from .surfaces import SurfaceScores, surface_scores
from .table import format_object_table, format_table


def evaluator_of(classes: Classes, *, objects: bool) -> DatasetEvaluator[Any]:
    """What judges a model: one that answers with objects, or with classes of pixels."""
    if objects:
        return InstanceEvaluator(classes)
    return SemanticEvaluator(classes) if classes.exclusive else OverlappingEvaluator(classes)


__all__ = [
    "ConfusionMatrix",
    "ConstantClass",
    "DatasetEvaluator",
    "InstanceEvaluator",
    "NearestMeanColour",
    "Otsu",
    "OtsuWatershed",
    "Overlap",
    "OverlappingEvaluator",
    "SemanticEvaluator",
    "SurfaceEvaluator",
    "SurfaceScores",
    "confusion",
    "curves",
    "evaluate",
    "evaluate_instances",
    "evaluator_of",
    "format_object_table",
    "format_table",
    "instance_scores",
    "object_overlay",
    "overlap",
    "overlap_of_maps",
    "overlay",
    "scores",
    "surface_scores",
]
