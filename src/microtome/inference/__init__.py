"""From a source to a result: tiles, model, blending, decision, files."""

from .predict import Predicts, predict, predict_resized, predict_scores
from .tiles import TileGrid

__all__ = ["Predicts", "TileGrid", "predict", "predict_resized", "predict_scores"]
