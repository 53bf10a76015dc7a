"""Whole models: what training, inference and evaluation see."""

from .checkpoint import checkpoint_in, load_segmenter
from .segmenter import Segmenter
from .usage import Usage

__all__ = ["Segmenter", "Usage", "checkpoint_in", "load_segmenter"]
