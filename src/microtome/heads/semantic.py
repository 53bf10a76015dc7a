"""What semantic heads share: one class for each pixel, or a set; their losses and their decoding.

B batch, K classes, *S spatial shape.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict, get_args

import torch
from torch import Tensor

from ..geometry import window
from ..layers import resize_maps
from ..losses import (
    DENSE_LOSSES,
    WEIGHING_CLASSES,
    Balance,
    balanced,
    checked_weights,
    chosen_losses,
)
from ..losses.dense import OVERLAPPING, DenseLoss
from ..structures import Classes, ImageList, Pyramid, Segmentation, members, set_probs
from . import Head, Targets

__all__ = ["DensePrediction", "LossArguments", "SemanticHead"]

ClassWeights = Balance | Sequence[float] | None
WEIGHTS = {name: float(name in ("cross_entropy", "dice")) for name in DENSE_LOSSES}
WEIGHTS_OF_SETS = {
    name: float(name in ("binary_cross_entropy", "dice")) for name in DENSE_LOSSES
}  # where classes overlap


class LossArguments(TypedDict, total=False):
    """What every semantic head takes besides its own arguments, as `SemanticHead` says.

    Attributes:
        weights: of losses; by default 1 of `cross_entropy` and `dice`.
        class_weights: K factors, or how the training set gives them: `inverse` or `median`.
        num_classes: K; never needed, checked if given.
        options: of losses, by the name of the loss and of the option.
    """

    weights: Mapping[str, float] | None
    class_weights: ClassWeights
    num_classes: int | None
    options: Mapping[str, Mapping[str, float]] | None


class DensePrediction(NamedTuple):
    """What semantic heads predict: logits [B, K, *canvas]."""

    logits: Tensor


class SemanticHead(Head[DensePrediction]):
    """A weighted sum of dense losses; subclasses say `logits`.

    A pixel has one class, by a softmax; or, of classes that overlap, those whose sigmoid is above
    one half.

    Args:
        classes: the class table.
        weights: of the losses in `losses.DENSE_LOSSES`; by default 1 of `cross_entropy` and `dice`
            and 0 of all others; of classes that overlap `binary_cross_entropy` and `dice`. What has
            weight 0 is not computed.
        class_weights: K factors in `cross_entropy` and `focal`, none by default; or how the
            training set gives them: `inverse` or `median` frequency (see `losses.balanced`).
        num_classes: K; never needed, checked if given.
        options: of losses, by the name of the loss and of the option (see there).

    Attributes:
        outputs: K, how many logits a pixel has: one of each class that it may have.

    Raises ValueError for unknown losses and options, for those that classes which overlap do not
    have, for another number of classes or of their weights, and where no loss has a weight or none
    uses the class weights.
    """

    def __init__(
        self,
        classes: Classes,
        weights: Mapping[str, float] | None = None,
        class_weights: ClassWeights = None,
        num_classes: int | None = None,
        options: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__()
        self.classes, self.outputs = classes.checked(), len(classes.members)
        if num_classes not in (None, self.outputs):
            raise ValueError(
                f"num_classes: {num_classes} given, the data has {self.outputs} "
                f"({', '.join(classes.members)}): leave it out, it is derived"
            )
        self.rule: Balance | None = class_weights if isinstance(class_weights, str) else None
        self._hold(class_weights)
        given = checked_weights(weights, WEIGHTS if classes.exclusive else WEIGHTS_OF_SETS)
        self.weights = {name: weight for name, weight in given.items() if weight}
        self.terms = self._terms(options)

    @abstractmethod
    def logits(self, pyramid: Pyramid, canvas: Sequence[int]) -> Tensor:
        """Maps [B, C_l, *S_l], finest first, to logits [B, K, *any]."""

    def forward(
        self, pyramid: Pyramid, images: ImageList, targets: Targets | None = None
    ) -> DensePrediction:
        """Maps [B, C_l, *S_l], finest first, to logits on the canvas."""
        return DensePrediction(resize_maps(self.logits(pyramid, images.canvas), images.canvas))

    def losses(self, prediction: DensePrediction, targets: Targets) -> dict[str, Tensor]:
        """Those with a weight; targets' `classes` lie on the canvas.

        Raises ValueError for a target without `classes`.
        """
        maps = [t.classes for t in targets if t.classes is not None]
        if len(maps) < len(targets):
            raise ValueError(f"{len(targets) - len(maps)} targets have no `classes` map")
        truth, ignored = torch.stack(maps), self.classes.ignore_index
        if not self.classes.exclusive:
            truth = members(truth, self.outputs, ignored).movedim(-1, 1)
        given = prediction.logits, truth, ignored
        factors = self._checked_weights()
        return {
            name: loss(*given, factors) if name in WEIGHING_CLASSES else loss(*given)
            for name, loss in self.terms.items()
        }

    def learn_frequencies(self, pixels: Sequence[int], among: Sequence[int]) -> None:
        """Compute the class weights, if the training set is to give them."""
        if self.rule is not None:
            assert self.class_weights is not None
            weights = torch.tensor(balanced(self.rule, pixels, among))
            self.class_weights.copy_(weights)

    def decode(self, prediction: DensePrediction, images: ImageList) -> list[Segmentation]:
        """Probabilities of each class, or set of classes, [.., *S] of each image, in float32."""
        logits = prediction.logits.float()
        scores = logits.softmax(1) if self.classes.exclusive else set_probs(logits.sigmoid())
        shapes = images.shapes.tolist()
        return [
            Segmentation(scores=one[(slice(None), *window(shape))])
            for one, shape in zip(scores, shapes, strict=True)
        ]

    def _terms(self, options: Mapping[str, Mapping[str, float]] | None) -> dict[str, DenseLoss]:
        if not self.weights:
            raise ValueError(f"every loss has weight 0: expected one of {list(WEIGHTS)}")
        wrong = sorted(self.weights.keys() - set(OVERLAPPING))
        if wrong and not self.classes.exclusive:
            raise ValueError(
                f"{', '.join(wrong)}: of classes that exclude each other; where they overlap there "
                f"are {', '.join(OVERLAPPING)} (loss=bce_dice)"
            )
        if self.class_weights is not None and not self.weights.keys() & set(WEIGHING_CLASSES):
            raise ValueError(
                f"class_weights serve {' and '.join(WEIGHING_CLASSES)}, which both have weight 0"
            )
        return chosen_losses(list(self.weights), options)

    def _hold(self, given: Balance | Sequence[float] | None) -> None:
        """Hold class weights as a buffer; those of the training set are saved with the weights."""
        count, values = self.classes.num_classes, None
        if given in get_args(Balance):
            values = torch.full((count,), torch.nan)
        elif isinstance(given, str):
            raise ValueError(f"class_weights: expected one of {get_args(Balance)}, got {given!r}")
        elif given is not None:
            values = torch.tensor([float(w) for w in given])
            if len(values) != count:
                raise ValueError(f"{count} classes but {len(values)} class_weights")
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", values, persistent=isinstance(given, str))
        self._weights_known = not isinstance(given, str)

    def _checked_weights(self) -> Tensor | None:
        """The class weights; looked at once, for a look costs a GPU its pace."""
        if not self._weights_known:
            assert self.class_weights is not None
            if self.class_weights.isnan().any():
                raise ValueError(
                    f"class_weights: {self.rule} needs the training set's frequencies: call "
                    "`learn_frequencies` first (training does)"
                )
            self._weights_known = True
        return self.class_weights
