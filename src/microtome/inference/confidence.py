"""How sure a model was, pixel by pixel: the score of what it chose, as numbers and as a picture.

OUT/confidence/NAME.tif        float32; Fiji, QuPath, napari and Python open it
               NAME.ome.zarr   the same of images of any size
               NAME.png        beside the image, with a colour bar

*S the image's shape.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from ..data.stores import Source
from ..data.stores.ome_zarr_images import ImageStore, create_image
from ..evaluation.confidence_picture import confidence_picture
from ..files import sweep, whole
from ..geometry import Region, Shape
from ..structures import Instances, Segmentation
from .outputs import CONFIDENCE, write_tiff
from .preview import Preview, preview


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


class ConfidenceStore:
    """Confidence [*S] as the one channel of an OME-Zarr image.

    Args:
        image: the store.
    """

    def __init__(self, image: ImageStore) -> None:
        self.image = image

    @property
    def shape(self) -> Shape:
        """*S."""
        return self.image.shape[1:]

    @property
    def chunk(self) -> Shape:
        """Regions that are written are aligned to it."""
        return self.image.chunk[1:]

    def write(self, region: Region, values: npt.NDArray[Any]) -> None:
        """Write `values` [*region]."""
        self.image.write((slice(0, 1), *region), values[None])

    def read(self, region: Region) -> npt.NDArray[Any]:
        """What was written of a region."""
        values: npt.NDArray[Any] = self.image.read((slice(0, 1), *region))[0]
        return values

    def finish(self) -> None:
        """Make the coarser levels, and say that it is complete."""
        self.image.finish()


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
        sweep(self._path(name, "tif").parent)
        with whole(self._path(name, "tif")) as part:
            write_tiff(part, scores.numpy(), source.info.spacing)
        self._draw(name, small, small.shrunk(scores))

    def store(self, name: str, source: Source, chunk: Shape) -> ConfidenceStore:
        """The store that a stopped run made, or a new one."""
        path = self._path(name, "ome.zarr")
        if path.exists():
            return ConfidenceStore(ImageStore(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        info = source.info
        return ConfidenceStore(
            create_image(
                path,
                info.shape,
                spacing=info.spacing,
                channels=("confidence",),
                dtype="float32",
                chunk=chunk,
            )
        )

    def draw(self, name: str, source: Source, store: ConfidenceStore) -> None:
        """Draw what a store holds, unless it was drawn before."""
        if not self.has(name):
            small = preview(source)
            self._draw(name, small, small.sampled(store))

    def clear(self, name: str) -> None:
        """Remove what an earlier run wrote for an image."""
        shutil.rmtree(self._path(name, "ome.zarr"), ignore_errors=True)
        self._path(name, "png").unlink(missing_ok=True)

    def _draw(self, name: str, small: Preview, scores: Tensor) -> None:
        picture = confidence_picture(small.image, scores, name, small.spacing)
        with whole(self._path(name, "png")) as part:
            picture.save(part, format="png")

    def _path(self, name: str, suffix: str) -> Path:
        return self.folder / f"{name}.{suffix}"
