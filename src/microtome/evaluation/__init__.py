"""Result and truth to numbers, tables and pictures."""

from .baselines import ConstantClass, NearestMeanColour, Otsu
from .confusion import ConfusionMatrix, confusion, scores
from .curves import curves
from .evaluator import Evaluator, evaluate
from .pictures import overlay
from .table import format_table

__all__ = [
    "ConfusionMatrix",
    "ConstantClass",
    "Evaluator",
    "NearestMeanColour",
    "Otsu",
    "confusion",
    "curves",
    "evaluate",
    "format_table",
    "overlay",
    "scores",
]
