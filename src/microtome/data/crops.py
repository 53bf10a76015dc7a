"""What training sees of an image: a random crop at a random scale, or all of it resized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from ..geometry import Placement, Region, Shape, Spacing, per_axis
from ..structures import Classes, DataSample, Segmentation
from .aiming import Aim
from .resizing import resized, truth_at


class Cut(NamedTuple):
    """What a crop takes from an image.

    Attributes:
        region: the window, inside the image.
        shape: pixels that the window is resized to.
    """

    region: Region
    shape: Shape


class RandomCrop:
    """Cut a random window of `size` pixels; axes shorter than it are padded at the far end.

    Padding is 0 in the image and `ignore_index` in the classes.

    Args:
        size: one number or one per axis, from 1 on.
        scales: lowest and highest factor that an image is enlarged by before it is cut, the same
            for all axes and drawn evenly; the window is cut first, so that only it is resized.
        aim: which crops go around objects or classes, and what becomes of slivers of objects;
            without it they go anywhere, and an object stays one as long as a pixel is left.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scales: Sequence[float] | None = None,
        aim: Aim | None = None,
    ) -> None:
        self.size = pixels("crop", size)
        if scales is not None and (len(scales) != 2 or not 0 < scales[0] <= scales[1]):
            raise ValueError(f"scales: expected [lowest, highest] above 0, got {scales}")
        self.scales, self.aim = scales, aim or Aim()

    def __call__(
        self, sample: DataSample, chance: np.random.SeedSequence, classes: Classes
    ) -> DataSample:
        """Cut every part of a sample alike."""
        cut = self.place(sample.shape, sample.truth, chance, classes)
        truth = self.truth(sample.truth, cut, classes)
        placement = moved(sample, [side.start for side in cut.region])
        image = sample.image[(slice(None), *cut.region)]
        window = replace(sample, image=image, truth=truth, placement=placement)
        return self.finish(window, cut, classes)

    def place(
        self,
        shape: Shape,
        truth: Segmentation | None,
        chance: np.random.SeedSequence,
        classes: Classes,
    ) -> Cut:
        """Choose the window in an image of `shape`, which need not be read for it.

        Args:
            shape: *S of the image.
            truth: what is in all of it; only looked at where `aim.asks`.
            chance: determines the window.
            classes: the class table.
        """
        rng = np.random.default_rng(chance)
        factor = 1.0 if self.scales is None else rng.uniform(self.scales[0], self.scales[1])
        size = per_axis(self.size, len(shape))
        seen = [max(1, round(want / factor)) for want in size]
        start = self.aim.start(truth, shape, seen, rng, classes.ignore_index)
        filled = tuple(
            want if have >= see else min(want, max(1, round(have * factor)))
            for have, see, want in zip(shape, seen, size, strict=True)
        )
        stops = (min(a + see, have) for a, see, have in zip(start, seen, shape, strict=True))
        return Cut(tuple(map(slice, start, stops)), filled)

    def truth(self, truth: Segmentation | None, cut: Cut, classes: Classes) -> Segmentation | None:
        """The truth of the window, of that of the whole image."""
        return truth and self.aim.truth(truth, cut.region, classes.ignore_index)

    def finish(self, sample: DataSample, cut: Cut, classes: Classes) -> DataSample:
        """Resize and pad what was read of a sample, its window alone."""
        size = per_axis(self.size, len(sample.shape))
        return _padded(rescaled(sample, cut.shape), size, classes.ignore_index)


class Resize:
    """Resize whole images to `size` pixels, as prediction in the mode `resize` does.

    Args:
        size: one number or one per axis, from 1 on.
    """

    steady = True  # the same in every epoch

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = pixels("resize", size)

    def __call__(
        self, sample: DataSample, chance: np.random.SeedSequence, classes: Classes
    ) -> DataSample:
        """Resize the image linearly and take the nearest truth; the spacing follows."""
        return rescaled(sample, per_axis(self.size, len(sample.shape)))


def pixels(what: str, size: int | Sequence[int]) -> int | Sequence[int]:
    """The same; raises ValueError, naming `what`, for sizes below 1."""
    sizes = [size] if isinstance(size, int) else size
    if not sizes or min(sizes) < 1:
        raise ValueError(f"{what}: expected pixels >= 1, got {size}")
    return size


def rescaled(sample: DataSample, shape: Shape) -> DataSample:
    """Resize image and truth; the spacing and the place in the source follow."""
    have = sample.shape
    scale = tuple(a / b for a, b in zip(have, shape, strict=True))
    here = Placement((0.0,) * len(have), scale, have)
    truth = sample.truth
    if truth is not None and shape != have:
        truth = truth_at(truth, here, shape)
    placement = _within(sample.placement, scale) or here
    image, spacing = resized(sample.image, shape), _times(sample.spacing, scale)
    return replace(sample, image=image, truth=truth, spacing=spacing, placement=placement)


def _padded(sample: DataSample, size: Shape, ignore_index: int) -> DataSample:
    missing = [want - have for want, have in zip(size, sample.shape, strict=True)]
    pads = [p for m in reversed(missing) for p in (0, m)]
    image = torch.nn.functional.pad(sample.image, pads)
    truth = sample.truth and sample.truth.pad(size, ignore_index)
    return replace(sample, image=image, truth=truth)


def moved(sample: DataSample, start: Sequence[int]) -> Placement:
    """The placement of a window of a sample that may be a window itself."""
    dims = len(start)
    offset, scale, shape = sample.placement or ((0.0,) * dims, (1.0,) * dims, sample.shape)
    at = tuple(o + k * a for o, k, a in zip(offset, scale, start, strict=True))
    return Placement(at, scale, shape)


def _within(placement: Placement | None, scale: Sequence[float]) -> Placement | None:
    """The placement after resizing by `scale` source pixels per pixel."""
    if placement is None:
        return None
    steps = tuple(a * b for a, b in zip(placement.scale, scale, strict=True))
    return placement._replace(scale=steps)


def _times(spacing: Spacing | None, scale: Sequence[float]) -> Spacing | None:
    return spacing and tuple(a * b for a, b in zip(spacing, scale, strict=True))
