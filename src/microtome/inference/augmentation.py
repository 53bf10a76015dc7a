"""Test-time augmentation: each tile is also predicted in other views; scores are averaged.

C channels, K classes, D axes, *S spatial shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, combinations, product
from math import inf
from typing import Literal, NamedTuple, get_args

from torch import Tensor, rot90

from ..data.resizing import resized
from ..geometry import Shape
from ..structures import DataSample, Segmentation
from .running import Predicts

Ways = Literal["mirror", "turn", "both"]
REASON = (
    "tta averages the scores of classes; objects of mirrored and turned copies cannot be averaged, "
    "and this model answers with objects"
)


class View(NamedTuple):
    """An image resized, mirrored, then turned in its last two axes.

    Attributes:
        scale: of every axis.
        mirrored: the axes, counted from the end: -1 is x.
        turns: by a right angle each.
    """

    scale: float
    mirrored: tuple[int, ...]
    turns: int

    def of(self, sample: DataSample) -> DataSample:
        """The sample seen so; the spacing follows, its place in the source has no meaning."""
        shape = tuple(max(1, round(size * self.scale)) for size in sample.shape)
        image = resized(sample.image, shape).flip(self.mirrored)
        spacing = sample.spacing
        if spacing is not None:
            spacing = tuple(s * a / b for s, a, b in zip(spacing, sample.shape, shape, strict=True))
            if self.turns % 2:
                spacing = (*spacing[:-2], spacing[-1], spacing[-2])
        image = rot90(image, self.turns, (-2, -1))
        return replace(sample, image=image, spacing=spacing, placement=None, truth=None)

    def back(self, scores: Tensor, shape: Shape) -> Tensor:
        """Scores [K, …] of the view, as they lie in the sample: [K, *shape]."""
        return resized(rot90(scores, -self.turns, (-2, -1)).flip(self.mirrored), shape)


class Views(NamedTuple):
    """In which views a tile is predicted: each orientation at each scale.

    Attributes:
        ways: `mirror`, along every set of axes: 2^D views; `turn`, by right angles in the last two
            axes: 4; `both`: 2^(D + 1), as a turn by half is the same as mirroring both axes; None:
            as it is.
        scales: a tile is enlarged by these, its scores brought back.
    """

    ways: Ways | None = None
    scales: tuple[float, ...] = (1.0,)

    def checked(self) -> Views:
        """Return itself; raise ValueError for other ways, no scales, and such as cannot be."""
        if self.ways not in (None, *get_args(Ways)):
            raise ValueError(f"tta: expected one of {get_args(Ways)}, got {self.ways!r}")
        if not self.scales or not all(0 < scale < inf for scale in self.scales):
            raise ValueError(f"tta: expected scales above 0, got {self.scales}")
        return self

    def all(self, dims: int) -> list[View]:
        """Every different view of D axes."""
        axes = {"mirror": range(-1, -dims - 1, -1), "both": [-1, *range(-3, -dims - 1, -1)]}
        free = axes.get(self.ways or "", [])
        sets = chain.from_iterable(combinations(free, n) for n in range(len(free) + 1))
        turns = range(4) if self.ways in ("turn", "both") else range(1)
        return [View(*view) for view in product(self.scales, sets, turns)]

    def __str__(self) -> str:
        """Such as `both`, or `mirror at 0.75, 1, 1.25`."""
        at = "" if self.scales == (1.0,) else f"at {', '.join(f'{s:g}' for s in self.scales)}"
        return " ".join(word for word in (self.ways, at) if word)


class Averaged:
    """A model that is asked about all views of each sample; its scores are the mean of theirs.

    It stands for the model wherever tiles are predicted, so tiles are blended as ever. It takes the
    time of the model once for each view, and memory for one more set of a batch's scores.

    Args:
        model: anything with `predict_samples` that answers with scores.
        views: which; `Views(views)` for a word.

    Raises ValueError for views that cannot be.
    """

    def __init__(self, model: Predicts, views: Views | Ways) -> None:
        self.views = (views if isinstance(views, Views) else Views(views)).checked()
        self.model = model

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        """Averaged scores [K, *S] of each sample.

        Raises ValueError when the model answers with objects.
        """
        seen = self.views.all(len(samples[0].shape))
        sums = self._scores(seen[0], samples)
        for view in seen[1:]:
            more = self._scores(view, samples)
            sums = [a + b for a, b in zip(sums, more, strict=True)]
        return [Segmentation(scores=total / len(seen)) for total in sums]

    def _scores(self, view: View, samples: Sequence[DataSample]) -> list[Tensor]:
        results = self.model.predict_samples([view.of(s) for s in samples])
        scores = [
            view.back(r.scores, s.shape)
            for r, s in zip(results, samples, strict=True)
            if r.scores is not None
        ]
        if len(scores) < len(samples):
            raise ValueError(REASON)
        return scores


def averaged(model: Predicts, views: Views | Ways | None, *, scored: bool) -> Predicts:
    """The model itself without `views`, else averaged.

    Raises ValueError, before anything is predicted, for a model without scores.
    """
    if views is None:
        return model
    if not scored:
        raise ValueError(REASON)
    return Averaged(model, views)
