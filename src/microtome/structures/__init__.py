"""What passes through the walls between rooms: images, truth, results, and the class table."""

from .bit_masks import BitMasks
from .boxes import Boxes
from .classes import Classes
from .image_list import ImageList
from .instances import Instances
from .label_layers import LabelLayers
from .labels import Labels
from .pyramid import Pyramid, PyramidSpec
from .sample import DataSample, Intensity, Segmentation
from .sets import members, set_probs

__all__ = [
    "BitMasks",
    "Boxes",
    "Classes",
    "DataSample",
    "ImageList",
    "Instances",
    "Intensity",
    "LabelLayers",
    "Labels",
    "Pyramid",
    "PyramidSpec",
    "Segmentation",
    "members",
    "set_probs",
]
