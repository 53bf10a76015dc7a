"""Where images come from, by region: one interface over files, volumes, slides and databases."""

from .arrays import ArraySource, measure
from .image_files import open_source
from .label_files import read_labels
from .source import ImageReadError, Source, SourceInfo

__all__ = [
    "ArraySource",
    "ImageReadError",
    "Source",
    "SourceInfo",
    "measure",
    "open_source",
    "read_labels",
]
