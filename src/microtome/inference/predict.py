"""One image through a model: tiled and blended, or resized as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..data.stores import Source
from ..structures import DataSample, Segmentation

Progress = Callable[[int, int], None]  # (done, total)


class Predicts(Protocol):
    """All that inference knows of a model: a Segmenter, a baseline and a test's network have it."""

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        """One result per sample, at the sample's shape, with `scores [K, *S]` in float32."""
        ...


def predict(
    source: Source,
    model: Predicts,
    *,
    tile: int | Sequence[int] = 512,
    overlap: float | Sequence[float] = 0.5,
    batch_size: int = 4,
    progress: Progress | None = None,
) -> Segmentation:
    """Segment an image of any size in overlapping tiles, blended with Gaussian weights."""
    raise NotImplementedError


def predict_resized(
    source: Source, model: Predicts, *, size: int | Sequence[int] = 512
) -> Segmentation:
    """Segment an image resized as a whole; the scores are resized back before the decision."""
    raise NotImplementedError
