"""A window of an image, brought to one size: what is learnt at other scales and proportions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log

import numpy as np

from ..geometry import Region, Shape, per_axis
from ..structures import Classes, DataSample
from .crops import moved, pixels, rescaled
from .spaced import between


class RandomResizedCrop:
    """Cut a random window and resize it (Szegedy et al., 2015).

    Args:
        share: lowest and highest part of the image that the window is.
        ratio: lowest and highest factor that the window is wider by, in the last axis to the one
            before, than the image; drawn evenly in its logarithm.
        size: pixels of the result, one value or one per axis; the image's own when not given.

    Raises ValueError for limits and sizes that are impossible.
    """

    def __init__(
        self,
        share: Sequence[float] = (0.5, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        size: int | Sequence[int] | None = None,
    ) -> None:
        self.share, self.ratio = between("share", share), between("ratio", ratio)
        if self.share[1] > 1:
            raise ValueError(f"share: expected at most 1, all of the image, got {list(share)}")
        self.size = None if size is None else pixels("size", size)

    def __call__(
        self, sample: DataSample, chance: np.random.SeedSequence, classes: Classes
    ) -> DataSample:
        """Cut and resize image and truth alike; spacing and place in the source follow."""
        shape = sample.shape
        region = self.place(shape, np.random.default_rng(chance))
        cut = replace(
            sample,
            image=sample.image[(slice(None), *region)],
            truth=sample.truth and sample.truth.crop(region),
            placement=moved(sample, [side.start for side in region]),
        )
        return rescaled(cut, shape if self.size is None else per_axis(self.size, len(shape)))

    def place(self, shape: Shape, rng: np.random.Generator) -> Region:
        """Choose the window in an image of `shape`."""
        side = rng.uniform(*self.share) ** (1 / len(shape))
        wider = exp(rng.uniform(log(self.ratio[0]), log(self.ratio[1])) / 2)
        factors = [side] * (len(shape) - 2) + [side / wider, side * wider]
        sizes = [min(n, max(1, round(n * f))) for n, f in zip(shape, factors, strict=True)]
        starts = [int(rng.integers(n - size + 1)) for n, size in zip(shape, sizes, strict=True)]
        return tuple(slice(a, a + size) for a, size in zip(starts, sizes, strict=True))
