"""From a source to a result: tiles, model, blending or stitching, decision, files.

`predict` keeps the result in memory; `predict_to` writes it to a store, block by block.

Many images are the matter of `inference.batch` and `inference.inputs`, which also score and draw.
"""

from .augmentation import Averaged, Views
from .beyond_memory import Outcome, predict_to
from .estimate import Estimate, estimate
from .joining import Objects
from .predict import predict, predict_resized, predict_scores
from .running import Predicts
from .tiles import TileGrid
from .tiling import Tiling

__all__ = [
    "Averaged",
    "Estimate",
    "Objects",
    "Outcome",
    "Predicts",
    "TileGrid",
    "Tiling",
    "Views",
    "estimate",
    "predict",
    "predict_resized",
    "predict_scores",
    "predict_to",
]
