"""Objects of an image of any size to files: maps, tables, COCO, QuPath."""

from .found import FoundObjects, NumberMap, sampled
from .measuring import Measured, measure
from .outputs import DEFAULT, FORMATS, ObjectOutputs

__all__ = [
    "DEFAULT",
    "FORMATS",
    "FoundObjects",
    "Measured",
    "NumberMap",
    "ObjectOutputs",
    "measure",
    "sampled",
]
