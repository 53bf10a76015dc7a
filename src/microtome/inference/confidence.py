"""How sure a model was, pixel by pixel: the score of what it chose, as numbers and as a picture.

OUT/confidence/NAME.tif   float32; Fiji, QuPath, napari and Python open it
               NAME.png   beside the image, with a colour bar

*S the image's shape.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..data.stores import Source
from ..evaluation.confidence_picture import confidence_picture
from ..files import sweep, whole
from ..geometry import Region, Shape
from ..structures import Instances, Segmentation
from .outputs import CONFIDENCE, write_tiff
from .preview import preview


class Confidence:
    """The score of each pixel's class while an image is predicted: [*S], in float32.

    Args:
        shape: *S.
    """

    def __init__(self, shape: Shape) -> None:
        self.scores = torch.zeros(shape)

    def add(self, region: Region, scores: Tensor) -> None:
        """Take what was decided of a region."""
        self.scores[region] = scores

    def of(self, result: Segmentation) -> Tensor:
        """[*S] of a result: of classes what was added, of objects their scores where they lie."""
        return self.scores if result.instances is None else of_objects(result.instances)


def of_objects(objects: Instances) -> Tensor:
    """[*S] the score of each pixel's object, the highest where some overlap, and 0 elsewhere.

    Raises ValueError for objects without scores or masks.
    """
    if objects.scores is None or objects.masks is None:
        raise ValueError("the model gives its objects no scores: there is no confidence to write")
    table = torch.cat([torch.zeros(1), objects.scores.float()])
    return table[objects.masks.maps.long()].amax(0)


class ConfidenceFiles:
    """The confidence of images, below an output folder.

    Args:
        output: the folder of the predictions.
    """

    def __init__(self, output: Path) -> None:
        self.folder = output / CONFIDENCE

    def has(self, name: str) -> bool:
        """Whether an image is done: its picture is written last."""
        return self._path(name, "png").is_file()

    def write(self, name: str, source: Source, scores: Tensor) -> None:
        """Write numbers and picture of scores [*S]."""
        small = preview(source)
        picture = confidence_picture(small.image, small.shrunk(scores), name, small.spacing)
        sweep(self._path(name, "tif").parent)
        with whole(self._path(name, "tif")) as part:
            write_tiff(part, scores.numpy(), source.info.spacing)
        with whole(self._path(name, "png")) as part:
            picture.save(part, format="png")

    def _path(self, name: str, suffix: str) -> Path:
        return self.folder / f"{name}.{suffix}"
