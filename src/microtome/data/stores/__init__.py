"""Where images come from, by region: one interface over files, volumes, slides and databases."""

from .arrays import ArraySource, measure
from .labels import LabelSource, open_labels, read_labels
from .ome_zarr_images import ImageStore, create_image
from .ome_zarr_labels import LabelStore, create_labels
from .opening import open_source
from .source import ImageReadError, Source, SourceInfo

__all__ = [
    "ArraySource",
    "ImageReadError",
    "ImageStore",
    "LabelSource",
    "LabelStore",
    "Source",
    "SourceInfo",
    "create_image",
    "create_labels",
    "measure",
    "open_labels",
    "open_source",
    "read_labels",
]
