"""Images of a batch mixed with each other, and their truths with them: MixUp and CutMix.

They are for heads that answer with the scores of classes. B batch, D axes, *S the canvas.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..geometry import Region, Shape
from ..structures import ImageList, Segmentation

Truths = Sequence[Segmentation]


class Judgement(NamedTuple):
    """By which truths a prediction is judged, and how much that counts.

    The loss is the sum of `share` times the loss by `targets`; shares add up to 1.
    """

    share: float
    targets: Truths


class Mixed(NamedTuple):
    """A mixed batch: its images, and by what they are judged."""

    images: ImageList
    judgements: list[Judgement]


class Drawn(NamedTuple):
    """What was drawn for a batch.

    Attributes:
        others: which image each one is mixed with.
        share: how much about an image keeps of itself.
        rng: for what else is to be drawn.
    """

    others: list[int]
    share: float
    rng: np.random.Generator


class Mix(ABC):
    """Mixes each image of a batch with another one, the same way for the whole batch.

    Args:
        prob: how often a batch is mixed.
        alpha: the share λ that an image keeps is drawn from Beta(alpha, alpha): 1 draws all shares
            alike, a smaller alpha keeps most batches close to one of the two images.

    Raises ValueError for other probabilities, and an alpha that is not above 0.
    """

    def __init__(self, prob: float = 0.5, alpha: float = 1.0) -> None:
        if not 0 <= prob <= 1 or alpha <= 0:
            raise ValueError(f"expected prob within 0…1 and alpha > 0, got {prob} and {alpha}")
        self.prob, self.alpha = prob, alpha

    def __call__(self, images: ImageList, targets: Truths, chance: np.random.SeedSequence) -> Mixed:
        """Mix a batch on its canvas, or leave it.

        Raises ValueError for a batch of one image, and truths without a class map.
        """
        count = len(targets)
        if count < 2:
            raise ValueError(
                f"{type(self).__name__} mixes the images of a batch, and this has {count}: take "
                "batch_size 2 or more"
            )
        rng = np.random.default_rng(chance)
        if rng.random() >= self.prob:
            return Mixed(images, [Judgement(1.0, targets)])
        share = float(rng.beta(self.alpha, self.alpha))
        away = int(rng.integers(1, count))  # so that no image is mixed with itself
        others = [(i + away) % count for i in range(count)]
        return self.mixed(images, targets, Drawn(others, share, rng))

    @abstractmethod
    def mixed(self, images: ImageList, targets: Truths, drawn: Drawn) -> Mixed:
        """Mix image i with image `others[i]`, keeping about `share` of i."""


class MixUp(Mix):
    """Lay images over each other (Zhang et al., 2018): λ of one, the rest of the other.

    The loss is λ times that by one truth plus the rest times that by the other. For cross-entropy
    this is the loss by mixed labels; for losses of overlap it takes their place. What either truth
    ignores is ignored in its part.
    """

    def mixed(self, images: ImageList, targets: Truths, drawn: Drawn) -> Mixed:
        """Weigh images and losses alike."""
        others, share, _ = drawn
        tensor = images.tensor * share + images.tensor[others] * (1 - share)
        second = [targets[i] for i in others]
        judgements = [Judgement(share, targets), Judgement(1 - share, second)]
        return Mixed(replace(images, tensor=tensor), judgements)


class CutMix(Mix):
    """Exchange a box of image and class map alike (Yun et al., 2019), in any number of axes.

    The box has 1 - λ of the canvas, its centre lies anywhere, and what would lie outside is cut
    off. Pixels that the other truth ignores are ignored. Where images of a batch differ in size,
    boxes lie in what all of them have.
    """

    def mixed(self, images: ImageList, targets: Truths, drawn: Drawn) -> Mixed:
        """Paste one box, the same for all images."""
        others, share, rng = drawn
        region = box(tuple(images.shapes.min(0).values.tolist()), 1 - share, rng)
        maps = [_classes(target) for target in targets]
        inside = (slice(None), slice(None), *region)
        tensor = images.tensor.clone()
        tensor[inside] = images.tensor[others][inside]
        pasted = []
        for own, other in enumerate(others):
            classes = maps[own].clone()
            classes[region] = maps[other][region]
            pasted.append(Segmentation(classes))
        return Mixed(replace(images, tensor=tensor), [Judgement(1.0, pasted)])


def box(shape: Shape, part: float, rng: np.random.Generator) -> Region:
    """A box of `part` of `shape`, about any centre, cut off at the border."""
    region = []
    for size in shape:
        side = size * part ** (1 / len(shape))
        centre = rng.uniform(0, size)
        start, stop = (round(min(max(centre + s * side / 2, 0), size)) for s in (-1, 1))
        region.append(slice(start, stop))
    return tuple(region)


def _classes(target: Segmentation) -> Tensor:
    classes = target.with_classes().classes
    if classes is None:
        raise ValueError("CutMix mixes class maps, and a truth has none")
    return classes
