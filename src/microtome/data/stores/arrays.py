"""An image that is already in memory, and what is measured of every image."""

from __future__ import annotations

from math import prod
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from ...geometry import Region, Shape, Spacing
from ...structures import DataSample, Intensity
from .source import Source, SourceInfo

MEASURED = 65_536  # pixels, at most
LOW, HIGH = 0.01, 0.998


def measure(
    image: npt.NDArray[np.floating] | torch.Tensor,
    levels: tuple[tuple[float, float], ...],
    stated: bool,
) -> Intensity:
    """Statistics per channel of an image [C, *S] in unit range, on a regular grid of its pixels.

    Args:
        image: a whole source, in unit range.
        levels: the raw values of black and white, per channel.
        stated: whether the type or the user says them, rather than this image's own values.
    """
    pixels = np.asarray(image)[(slice(None), *thinned(image.shape[1:]))]
    pixels = pixels.reshape(len(pixels), -1).astype(np.float64)
    low, high = np.quantile(pixels, (LOW, HIGH), axis=1)
    statistics = pixels.mean(1), pixels.std(1), low, high
    return Intensity(levels, stated, *(tuple(s.tolist()) for s in statistics))


def thinned(shape: Shape, most: int = MEASURED) -> Region:
    """A regular grid of at most `most` pixels; the longest axes are thinned first."""
    steps = [1] * len(shape)
    counts = list(shape)
    while prod(counts) > most:
        axis = counts.index(max(counts))
        steps[axis] += 1
        counts[axis] = -(-shape[axis] // steps[axis])
    return tuple(slice((step - 1) // 2, None, step) for step in steps)


class ArraySource(Source):
    """An image [C, *S] in memory, float and in unit range.

    Raises ValueError for integers: only whoever read them knows what white is.
    """

    def __init__(
        self,
        image: npt.NDArray[np.floating] | torch.Tensor,
        *,
        name: str,
        spacing: Spacing | None = None,
        intensity: Intensity | None = None,
        channels: tuple[str, ...] = (),
    ) -> None:
        pixels = np.asarray(image)
        if pixels.dtype.kind != "f" or pixels.ndim < 2:
            raise ValueError(
                f"{name}: expected floats [C, *S] with 0 for black and 1 for white, got "
                f"{pixels.dtype} {list(pixels.shape)}; divide 8-bit values by 255"
            )
        names = channels or tuple(f"channel {i}" for i in range(len(pixels)))
        self._pixels = pixels.astype(np.float32, copy=False)
        self._intensity = intensity
        self.info = SourceInfo(name, pixels.shape[1:], names, spacing, str(pixels.dtype))

    @classmethod
    def from_sample(cls, sample: DataSample) -> Self:
        """The image of a sample, with what is known of it."""
        return cls(
            sample.image,
            name=str(sample.meta.get("name", "sample")),
            spacing=sample.spacing,
            intensity=sample.intensity,
            channels=sample.channels,
        )

    @property
    def intensity(self) -> Intensity:
        """What was given, else measured at the first call."""
        if self._intensity is None:
            self._intensity = measure(self._pixels, ((0.0, 1.0),) * len(self._pixels), True)
        return self._intensity

    def read(self, region: Region) -> npt.NDArray[np.float32]:
        """[C, *region]: a view, not a copy."""
        return self._pixels[(slice(None), *region)]
