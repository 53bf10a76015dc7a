"""Result and truth to numbers, tables and pictures."""

from .confusion import ConfusionMatrix, confusion, scores
from .evaluator import Evaluator, evaluate

__all__ = ["ConfusionMatrix", "Evaluator", "confusion", "evaluate", "scores"]
