"""Test-time augmentation: each tile is also predicted mirrored and turned; scores are averaged.

C channels, K classes, D axes, *S spatial shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, combinations
from typing import Literal, NamedTuple, get_args

from torch import Tensor, rot90

from ..structures import DataSample, Segmentation
from .running import Predicts

Ways = Literal["mirror", "turn", "both"]
REASON = (
    "tta averages the scores of classes; objects of mirrored and turned copies cannot be averaged, "
    "and this model answers with objects"
)


class View(NamedTuple):
    """An image mirrored, then turned in its last two axes.

    Attributes:
        mirrored: the axes, counted from the end: -1 is x.
        turns: by a right angle each.
    """

    mirrored: tuple[int, ...]
    turns: int

    def of(self, sample: DataSample) -> DataSample:
        """The sample seen so; the spacing follows, its place in the source has no meaning."""
        image = rot90(sample.image.flip(self.mirrored), self.turns, (-2, -1))
        spacing = sample.spacing
        if spacing is not None and self.turns % 2:
            spacing = (*spacing[:-2], spacing[-1], spacing[-2])
        return replace(sample, image=image, spacing=spacing, placement=None, truth=None)

    def back(self, scores: Tensor) -> Tensor:
        """Scores [K, *S] of the view, as they lie in the sample."""
        return rot90(scores, -self.turns, (-2, -1)).flip(self.mirrored)


def views(ways: Ways, dims: int) -> list[View]:
    """All different views of D axes, the unchanged one first.

    `mirror`: every set of axes, 2^D views. `turn`: by right angles in the last two axes, 4. `both`:
    2^(D + 1), as a turn by half is the same as mirroring both axes.
    """
    axes = range(-1, -dims - 1, -1)
    turns = (0,) if ways == "mirror" else (0, 1, 2, 3)
    if ways == "turn":
        axes = range(0)
    free = [axis for axis in axes if ways == "mirror" or axis != -2]
    sets = chain.from_iterable(combinations(free, n) for n in range(len(free) + 1))
    return [View(mirrored, turn) for mirrored in sets for turn in turns]


class Averaged:
    """A model that is asked about all views of each sample; its scores are the mean of theirs.

    It stands for the model wherever tiles are predicted, so tiles are blended as ever. It takes the
    time of the model once for each view, and memory for one more set of a batch's scores.

    Args:
        model: anything with `predict_samples` that answers with scores.
        ways: `mirror`, `turn` or `both`; see `views`.

    Raises ValueError for other ways.
    """

    def __init__(self, model: Predicts, ways: Ways) -> None:
        if ways not in get_args(Ways):
            raise ValueError(f"tta: expected one of {get_args(Ways)}, got {ways!r}")
        self.model, self.ways = model, ways

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        """Averaged scores [K, *S] of each sample.

        Raises ValueError when the model answers with objects.
        """
        seen = views(self.ways, len(samples[0].shape))
        sums = self._scores(seen[0], samples)
        for view in seen[1:]:
            more = self._scores(view, samples)
            sums = [a + b for a, b in zip(sums, more, strict=True)]
        return [Segmentation(scores=total / len(seen)) for total in sums]

    def _scores(self, view: View, samples: Sequence[DataSample]) -> list[Tensor]:
        results = self.model.predict_samples([view.of(s) for s in samples])
        scores = [view.back(r.scores) for r in results if r.scores is not None]
        if len(scores) < len(samples):
            raise ValueError(REASON)
        return scores


def averaged(model: Predicts, ways: Ways | None, *, scored: bool) -> Predicts:
    """The model itself without `ways`, else averaged.

    Raises ValueError, before anything is predicted, for a model without scores.
    """
    if ways is None:
        return model
    if not scored:
        raise ValueError(REASON)
    return Averaged(model, ways)
