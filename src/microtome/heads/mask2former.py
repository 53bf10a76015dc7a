"""Mask2Former (Cheng et al., CVPR 2022): a set of masks with classes, in any number of axes.

The same head for semantic and instance segmentation; only the truth and the decoding differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..losses.masks import PointSampling
from ..structures import Classes, ImageList, Pyramid, PyramidSpec
from . import Targets
from .counts import too_small
from .mask2former_weights import load_published
from .mask_classification import MaskClassification
from .mask_prediction import MaskPrediction
from .mask_targets import Task
from .masked_decoder import MaskedDecoder
from .pixel_decoder import DeformablePixelDecoder

__all__ = ["Mask2Former"]


class Mask2Former(MaskClassification):
    """Deformable pixel decoder and masked-attention decoder.

    Masks have the resolution of the pyramid's finest level: give it one at stride 4 or finer.

    Args:
        spec: what the backbone or neck returns; one level or more.
        classes: the class table.
        task: `semantic`, `instance` or `panoptic`.
        num_queries: the most masks an image can have; more objects than that are not learnt.
        hidden: channels of everything inside.
        encoder_layers: of the pixel decoder.
        decoder_layers: of masked attention.
        num_heads: of all attention; they divide `hidden`.
        num_points: at which a mask is judged.
        min_score: objects below are not decoded; of no meaning in task `semantic`, as the next two.
        mask_threshold: the probability from which a pixel belongs to an object's mask.
        min_visible: objects are dropped of whose mask better ones leave this part or less; None for
            0.5, and for 0.8 in task `panoptic`.
        weights: of the losses `class` (2), `mask` (5) and `dice` (5).
        pretrained: a local file or folder of a published Mask2Former, as transformers writes it.
            What depends on the classes or on the backbone's channels and differs stays random,
            which is logged as a warning.

    Raises ValueError for unknown tasks and losses, for numbers that cannot be, and for published
    weights of a head of other sizes.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        classes: Classes,
        *,
        task: Task = "semantic",
        num_queries: int = 100,
        hidden: int = 256,
        encoder_layers: int = 6,
        decoder_layers: int = 9,
        num_heads: int = 8,
        num_points: int = 12544,
        min_score: float = 0.5,
        mask_threshold: float = 0.5,
        min_visible: float | None = None,
        weights: Mapping[str, float] | None = None,
        pretrained: str | None = None,
    ) -> None:
        wrong = too_small(
            num_queries=num_queries, decoder_layers=decoder_layers, num_points=num_points
        )
        if wrong:
            raise ValueError(f"Mask2Former: {', '.join(wrong)}")
        super().__init__(
            classes,
            task,
            weights=weights,
            sampling=PointSampling(num_points),
            min_score=min_score,
            mask_threshold=mask_threshold,
            min_visible=min_visible,
        )
        self.pixels = DeformablePixelDecoder(spec, hidden, encoder_layers, num_heads)
        self.decoder = MaskedDecoder(
            classes.num_classes,
            num_queries,
            hidden,
            layers=decoder_layers,
            levels=self.pixels.encoded,
            num_heads=num_heads,
        )
        if pretrained is not None:
            load_published(self, pretrained)

    def restated(self) -> dict[str, Any]:
        """Say what was built, not where weights were found: rebuilding needs no file."""
        return {"pretrained": None}

    def forward(
        self, pyramid: Pyramid, images: ImageList, targets: Targets | None = None
    ) -> MaskPrediction:
        """Maps [B, C_l, *S_l], finest first, to classes and masks of every layer."""
        prediction: MaskPrediction = self.decoder(self.pixels(pyramid, images), images)
        return prediction
