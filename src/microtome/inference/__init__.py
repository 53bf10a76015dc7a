"""From a source to a result: tiles, model, blending, decision, files.

Many images are the matter of `inference.batch` and `inference.inputs`, which also score and draw.
"""

from .predict import Predicts, predict, predict_resized, predict_scores
from .tiles import TileGrid
from .tiling import Tiling

__all__ = ["Predicts", "TileGrid", "Tiling", "predict", "predict_resized", "predict_scores"]
