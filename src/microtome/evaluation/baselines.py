"""What a network must beat: baselines that answer as a model does, without learning features.

C channels, K classes, *S the spatial shape. Each has `predict_samples`, like a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import torch
from skimage.filters import threshold_otsu
from torch import Tensor
from torch.nn import functional as F

from ..structures import Classes, DataSample, Segmentation

Side = Literal["dark", "bright"]  # of the threshold


class ConstantClass:
    """Says one class everywhere: the most frequent one is what accuracy must be compared with.

    Args:
        index: the class.
        count: K.
    """

    def __init__(self, index: int, count: int) -> None:
        if not 0 <= index < count:
            raise ValueError(f"class {index} is none of the {count} classes")
        self.index, self.count = index, count

    @classmethod
    def fit(cls, samples: Iterable[DataSample], classes: Classes) -> ConstantClass:
        """Take the most frequent class of samples with truth."""
        pixels = torch.zeros(classes.num_classes, dtype=torch.int64)
        for _, truth in _judged(samples, classes):
            pixels += torch.bincount(truth, minlength=classes.num_classes)
        return cls(int(pixels.argmax()), classes.num_classes)

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        """Scores [K, *S]: one for the class, zero for the others."""
        return [
            _certain(torch.full(s.shape, self.index, device=s.image.device), self.count)
            for s in samples
        ]


class NearestMeanColour:
    """Says for each pixel the class whose mean colour is nearest.

    Args:
        means: [K, C] in unit range; nan for a class that was never seen.
    """

    def __init__(self, means: Tensor) -> None:
        self.means = means

    @classmethod
    def fit(cls, samples: Iterable[DataSample], classes: Classes) -> NearestMeanColour:
        """Average the colours of each class over all pixels of samples with truth.

        Raises ValueError when there is no pixel to learn from.
        """
        sums: Tensor | None = None
        pixels = torch.zeros(classes.num_classes, dtype=torch.float64)
        for colours, truth in _judged(samples, classes):
            if sums is None:
                sums = torch.zeros(classes.num_classes, len(colours), dtype=torch.float64)
            sums.index_add_(0, truth, colours.T.double())
            pixels += torch.bincount(truth, minlength=classes.num_classes)
        if sums is None or not pixels.any():
            raise ValueError("no pixel with a known class in the samples to learn colours from")
        return cls((sums / pixels[:, None]).float())

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        """Scores [K, *S]: one for the nearest class, zero for the others."""
        return [_certain(self._nearest(s.image), len(self.means)) for s in samples]

    def _nearest(self, image: Tensor) -> Tensor:
        means = self.means.to(image.device).view(*self.means.shape, *[1] * (image.ndim - 1))
        far = torch.stack([(image - mean).square().sum(0) for mean in means])
        return far.nan_to_num(nan=torch.inf).argmin(0)


class Otsu:
    """Says class 1 on one side of the threshold between dark and bright (Otsu, 1979).

    The threshold is found anew in each sample, on the mean of its channels: give it whole images,
    not tiles.

    Args:
        foreground: which side is class 1; lesions are darker than skin, stained nuclei brighter
            than the dark of fluorescence.
    """

    def __init__(self, foreground: Side = "bright") -> None:
        self.foreground = checked_side(foreground)

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        """Scores [2, *S]."""
        return [_certain(self._split(s.image), 2) for s in samples]

    def _split(self, image: Tensor) -> Tensor:
        grey = image.mean(0)
        bright = grey > float(threshold_otsu(grey.cpu().numpy()))
        return (bright if self.foreground == "bright" else ~bright).long()


def checked_side(foreground: Side) -> Side:
    """Return it, or raise ValueError when it is neither."""
    if foreground not in get_args(Side):
        raise ValueError(f"foreground must be 'dark' or 'bright', got {foreground!r}")
    return foreground


def _judged(samples: Iterable[DataSample], classes: Classes) -> Iterable[tuple[Tensor, Tensor]]:
    """Colours [C, P] and classes [P] of the pixels whose class is known, sample by sample."""
    for sample in samples:
        if sample.truth is None or sample.truth.classes is None:
            continue
        truth = sample.truth.classes
        judged = truth != classes.ignore_index
        yield sample.image[:, judged], truth[judged].long()


def _certain(classes: Tensor, count: int) -> Segmentation:
    return Segmentation(scores=F.one_hot(classes, count).movedim(-1, 0).float())
