"""Result and truth to numbers, tables and pictures."""

from .baselines import ConstantClass, NearestMeanColour, Otsu
from .confusion import ConfusionMatrix, confusion, scores
from .curves import curves
from .evaluator import Evaluator, evaluate
from .instance_evaluator import InstanceEvaluator, evaluate_instances
from .instance_scores import instance_scores
from .object_pictures import object_overlay
from .overlap import Overlap, overlap, overlap_of_maps
from .pictures import overlay
from .table import format_object_table, format_table

__all__ = [
    "ConfusionMatrix",
    "ConstantClass",
    "Evaluator",
    "InstanceEvaluator",
    "NearestMeanColour",
    "Otsu",
    "Overlap",
    "confusion",
    "curves",
    "evaluate",
    "evaluate_instances",
    "format_object_table",
    "format_table",
    "instance_scores",
    "object_overlay",
    "overlap",
    "overlap_of_maps",
    "overlay",
    "scores",
]
