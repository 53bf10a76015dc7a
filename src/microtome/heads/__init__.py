"""Heads: feature maps to a prediction, its losses, its decoding.

Parameters are touched in `forward` only: sharded and distributed training see no other method.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from torch import Tensor

from ..blueprint import Part
from ..structures import ImageList, Pyramid, Segmentation

__all__ = ["Head", "Targets"]

P = TypeVar("P", bound="tuple[Any, ...]")
Targets = Sequence[Segmentation]


class Head(Part, Generic[P]):
    """P is the prediction, a NamedTuple: DDP, FSDP2, DeepSpeed and compile look inside those.

    Attributes:
        weights: the weight of each loss; `losses` returns exactly these keys.
        fullgraph: whether `forward` without targets compiles as one graph.
        scored: whether `decode` gives scores of every class, which tiles are blended by.
    """

    weights: Mapping[str, float]
    fullgraph: bool = True
    scored: bool = True

    @abstractmethod
    def forward(self, pyramid: Pyramid, images: ImageList, targets: Targets | None = None) -> P:
        """Predict from every level; `targets` serve the losses, eval mode serves `decode`."""

    @abstractmethod
    def losses(self, prediction: P, targets: Targets) -> dict[str, Tensor]:
        """Unweighted scalars, zero when there is nothing to learn; targets lie on the canvas."""

    def learn_frequencies(self, pixels: Sequence[int], among: Sequence[int]) -> None:
        """Take note of the training set, before training; most heads have no use for it.

        Args:
            pixels: how many each class has.
            among: how many pixels are judged in the images that show each class.
        """
        return None

    def sift(self, min_score: float) -> None:
        """Decode objects that score at least so much from now on; what is saved stays as it was.

        Raises ValueError outside 0…1, and for heads that sift no objects.
        """
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score: expected 0 to 1, got {min_score}")
        if not self._sifted(min_score):
            raise ValueError(f"min_score: {type(self).__name__} sifts no objects by their scores")

    def _sifted(self, min_score: float) -> bool:
        """Take it over, where objects have scores."""
        return False

    @abstractmethod
    def decode(self, prediction: P, images: ImageList) -> list[Segmentation]:
        """One result per image, at its true shape in `images`."""
