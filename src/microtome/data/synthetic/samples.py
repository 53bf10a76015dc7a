"""Drawings as data sets: sample i is a pure function of (seed, start + i)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch

from ...geometry import Spacing
from ...structures import Classes, DataSample, Instances, LabelLayers, Segmentation
from ..datasets import SampleDataset, Transform
from ..sampling import dice
from ..stores import measure
from . import anatomy, nuclei
from .fields import Drawing
from .tissue import draw_tissue


class Drawings(SampleDataset):
    """What both data sets share.

    Ranges `start … start + length` that do not meet give splits that share no image.
    """

    name: str
    spacing: Spacing
    channels: tuple[str, ...]

    def __init__(
        self, length: int, start: int, transforms: Sequence[Transform] = (), seed: int = 0
    ) -> None:
        super().__init__(transforms, seed)
        self.length, self.start = length, start
        self.drawn_from = seed  # `seed` is the transforms' and may be changed for training

    def __len__(self) -> int:
        return self.length

    def name_of(self, item: int) -> str:
        """`tissue_0007`: the number counts on from `start`."""
        return f"{self.name}_{self.start + item:04d}"

    def draw(self, item: int) -> Drawing:
        """Draw one image with its truth.

        Raises IndexError outside 0 … length - 1.
        """
        if not 0 <= item < self.length:
            raise IndexError(f"{item} is not among the {self.length} images of this data set")
        return self._draw(np.random.default_rng(dice(self.drawn_from, self.start + item)))

    @abstractmethod
    def _draw(self, rng: np.random.Generator) -> Drawing: ...

    def load(self, item: int) -> DataSample:
        """Draw one image and give it as the readers would give the file of it."""
        drawing = self.draw(item)
        raw = drawing.image
        stated = raw.dtype == np.uint8
        black, white = (0.0, 255.0) if stated else (float(raw.min()), float(raw.max()))
        image = (raw.astype(np.float32) - np.float32(black)) / np.float32(white - black)
        masks = LabelLayers.from_ids(torch.from_numpy(drawing.ids))
        labels = torch.full((len(masks),), self.classes.things.index(True))
        return DataSample(
            torch.from_numpy(image),
            Segmentation(torch.from_numpy(drawing.classes).long(), Instances(labels, masks=masks)),
            self.spacing,
            self.channels,
            intensity=measure(image, ((black, white),) * len(image), stated),
            meta={"name": self.name_of(item)},
        )


class SyntheticTissue(Drawings):
    """Stained sections with glands: 5 classes, the nuclei also as objects.

    Args:
        length: how many.
        size: of the square images, in pixels of 0.8 µm.
        start: the number of the first.
        transforms: as in every data set.
        seed: other seeds draw other images; also the transforms' seed.
    """

    name, channels = "tissue", ("red", "green", "blue")
    classes: Classes = anatomy.CLASSES
    spacing = anatomy.SPACING

    def __init__(
        self,
        length: int = 48,
        size: int = 256,
        start: int = 0,
        transforms: Sequence[Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(length, start, transforms, seed)
        self.size = size

    def _draw(self, rng: np.random.Generator) -> Drawing:
        return draw_tissue(rng, self.size)


class SyntheticNuclei(Drawings):
    """Fluorescence volumes of nuclei: 2 classes, the nuclei also as objects.

    Args:
        length: how many.
        shape: z, y, x in voxels.
        spacing: z, y, x in µm.
        start: the number of the first.
        transforms: as in every data set.
        seed: other seeds draw other images; also the transforms' seed.
    """

    name, channels = "nuclei", ("grey",)
    classes: Classes = nuclei.CLASSES

    def __init__(
        self,
        length: int = 12,
        shape: Sequence[int] = (20, 80, 80),
        spacing: Sequence[float] = (2.0, 0.5, 0.5),
        start: int = 0,
        transforms: Sequence[Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(length, start, transforms, seed)
        self.shape, self.spacing = tuple(shape), tuple(spacing)

    def _draw(self, rng: np.random.Generator) -> Drawing:
        return nuclei.draw_nuclei(rng, self.shape, self.spacing)
