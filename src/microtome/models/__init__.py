"""Whole models: what training, inference and evaluation see."""

from .checkpoint import load_segmenter
from .segmenter import Segmenter
from .usage import Usage

__all__ = ["Segmenter", "Usage", "load_segmenter"]
