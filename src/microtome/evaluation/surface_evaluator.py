"""Class maps against class maps by their pixels and, in µm, by the surfaces of classes.

K classes, W weightings of the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry import Spacing, per_axis
from ..structures import Classes, Segmentation
from .confusion import PixelSums, class_scores
from .evaluator import DatasetEvaluator
from .semantic_evaluator import ROW, class_maps, pixel_sums
from .sums import weighted
from .surfaces import surface_scores


class SurfaceSums(NamedTuple):
    """Sums over the images that have a class, in truth or result; those of images add up.

    Attributes:
        hd95: [K] µm.
        surface_dice: [K].
        images: [K] how many.
    """

    hd95: Tensor
    surface_dice: Tensor
    images: Tensor


class SurfaceScore(NamedTuple):
    """What is kept of one image."""

    pixels: PixelSums
    surfaces: SurfaceSums


class SurfaceEvaluator(DatasetEvaluator[SurfaceScore]):
    """The numbers of `SemanticEvaluator`, and how far surfaces lie apart.

    `hd95/NAME` (µm) and `surface_dice/NAME` are those of `surface_scores`, in the mean over the
    images where they exist; `mean_` is their mean over classes. The rows have them, too. An image
    takes seconds where it is large: nearest neighbours are looked for.

    Args:
        classes: the class table.
        tolerance: µm that a surface may be off, for the surface Dice.
        spacing: µm per pixel, one value or one per axis, of images that do not tell theirs.
    """

    main = "miou"

    def __init__(
        self, classes: Classes, tolerance: float, spacing: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(classes)
        self.tolerance, self.spacing = tolerance, spacing

    def _score(
        self, result: Segmentation, truth: Segmentation, spacing: Spacing | None
    ) -> SurfaceScore:
        found, true = class_maps(result, truth)
        pixels = pixel_sums(found, true, self.classes)
        ours = surface_scores(
            found,
            true,
            self.classes.num_classes,
            self._spacing(spacing, found.ndim),
            self.tolerance,
            self.classes.ignore_index,
        )
        sums = (ours.hd95.nan_to_num(), ours.dice.nan_to_num(), (~ours.dice.isnan()).long())
        return SurfaceScore(pixels, SurfaceSums(*sums))

    def _spacing(self, known: Spacing | None, dims: int) -> Spacing:
        spacing = known or self.spacing
        if spacing is None:
            raise ValueError("its spacing is not known, and surfaces are compared in µm: give one")
        return per_axis(spacing, dims)

    def _nothing(self) -> SurfaceScore:
        none = torch.zeros(3, self.classes.num_classes, dtype=torch.int64)
        return SurfaceScore(PixelSums(*none), SurfaceSums(*none))

    def _weighed(self, scores: Sequence[SurfaceScore], weights: Tensor) -> dict[str, Tensor]:
        pixels, surfaces = zip(*scores, strict=True)
        numbers = class_scores(weighted(pixels, weights), self.classes.names)
        return numbers | self._surfaces(weighted(surfaces, weights))

    def _surfaces(self, sums: SurfaceSums) -> dict[str, Tensor]:
        each = {"hd95": sums.hd95 / sums.images, "surface_dice": sums.surface_dice / sums.images}
        numbers = {f"mean_{key}": values.nanmean(-1) for key, values in each.items()}
        return numbers | {
            f"{key}/{name}": values[..., index]
            for key, values in each.items()
            for index, name in enumerate(self.classes.names)
        }

    def _row(self, score: SurfaceScore) -> dict[str, float]:
        own = self._weighed([score], torch.ones(1, 1))
        surfaces = self._surfaces(weighted([score.surfaces], torch.ones(1, 1)))
        return {key: float(own[key]) for key in (*ROW, *surfaces)}
