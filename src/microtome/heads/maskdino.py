"""Mask DINO (Li et al., CVPR 2023): objects with masks and boxes, in any number of axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..losses.masks import PointSampling
from ..structures import Classes, ImageList, Pyramid, PyramidSpec, Segmentation
from . import Head, Targets
from .counts import too_small
from .mask_decoding import Deciding, Queries, found_objects
from .mask_targets import MaskTargets
from .maskdino_decoder import BoxDecoder
from .maskdino_denoising import Known
from .maskdino_losses import Scene, all_weights, found_losses, told_losses
from .maskdino_prediction import BoxMaskPrediction
from .maskdino_weights import load_published
from .mean_count import mean_count
from .pixel_decoder import DeformablePixelDecoder

__all__ = ["MaskDINO"]


class MaskDINO(Head[BoxMaskPrediction]):
    """Deformable pixel decoder, queries picked from its places, a decoder that moves their boxes.

    Masks have the resolution of the pyramid's finest level: give it one at stride 4 or finer.

    Args:
        spec: what the backbone or neck returns; one level or more.
        classes: the class table.
        num_queries: the most objects an image can have; more than that are not learnt.
        num_denoising: how many noisy queries help in training; 0 for none.
        noise: how noisy they are, 0…1.
        boxes_of_masks: queries begin with the boxes around the masks that their places predict; or
            else with the boxes that the places propose, which from random weights learns sooner.
        masks_of_boxes: masks begin as ellipses in their boxes, to which what is learnt is added:
            not as published, but from random weights learnt much sooner.
        hidden: channels of everything inside.
        encoder_layers: of the pixel decoder.
        decoder_layers: of the decoder.
        num_heads: of all attention; they divide `hidden`.
        num_points: at which a mask is judged.
        min_score: objects below are not decoded.
        weights: of the losses `class` (4), `mask` (5), `dice` (5), `box` (5) and `giou` (2), and of
            the same terms in the matching; they count for the decoder's layers, and as `proposed_…`
            and `denoised_…` for the selection of queries and for noisy queries.
        pretrained: a local file or folder of a published Mask DINO. What depends on the classes or
            on the backbone's channels and differs stays random, which is logged as a warning.

    Raises ValueError for unknown losses, for numbers that cannot be, and for published weights of a
    head of other sizes.
    """

    scored = False

    def __init__(
        self,
        spec: PyramidSpec,
        classes: Classes,
        *,
        num_queries: int = 300,
        num_denoising: int = 100,
        noise: float = 0.4,
        boxes_of_masks: bool = True,
        masks_of_boxes: bool = False,
        hidden: int = 256,
        encoder_layers: int = 6,
        decoder_layers: int = 9,
        num_heads: int = 8,
        num_points: int = 12544,
        min_score: float = 0.25,
        weights: Mapping[str, float] | None = None,
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        wrong = too_small(
            num_queries=num_queries, decoder_layers=decoder_layers, num_points=num_points
        )
        wrong += too_small(0, num_denoising=num_denoising)
        if not 0 <= noise <= 1:
            wrong.append(f"noise is not within 0 to 1: {noise}")
        if wrong:
            raise ValueError(f"MaskDINO: {', '.join(wrong)}")
        self.classes, self.weights = classes.checked(), all_weights(weights)
        self.sampling, self.deciding = PointSampling(num_points), Deciding(min_score)
        self.num_denoising = num_denoising
        self.pixels = DeformablePixelDecoder(spec, hidden, encoder_layers, num_heads)
        self.decoder = BoxDecoder(
            classes.num_classes,
            num_queries,
            hidden,
            spec.spatial_dims,
            layers=decoder_layers,
            levels=self.pixels.encoded,
            num_heads=num_heads,
            noise=noise,
            boxes_of_masks=boxes_of_masks,
            masks_of_boxes=masks_of_boxes,
        )
        if pretrained is not None:
            load_published(self, pretrained)

    def _sifted(self, min_score: float) -> bool:
        self.deciding = self.deciding._replace(min_score=min_score)
        return True

    def restated(self) -> dict[str, Any]:
        """Say what was built, not where weights were found: rebuilding needs no file."""
        return {"pretrained": None}

    def forward(
        self, pyramid: Pyramid, images: ImageList, targets: Targets | None = None
    ) -> BoxMaskPrediction:
        """Maps [B, C_l, *S_l], finest first, to classes, masks and boxes of every layer.

        In training, noisy copies of the targets' objects are queries too.
        """
        known = None
        if self.training and targets is not None:
            known = Known.of(self._truths(targets), images.shapes, self.num_denoising)
        prediction: BoxMaskPrediction = self.decoder(self.pixels(pyramid, images), images, known)
        return prediction

    def losses(
        self,
        prediction: BoxMaskPrediction,
        targets: Targets,
        points: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Losses summed over the layers, means over the batch's objects.

        Ignored pixels count neither in the matching nor in the losses, boxes are around judged
        pixels, and images where everything is ignored do not count at all.

        Args:
            prediction: of all layers.
            targets: on the canvas.
            points: for each image the points [P, D] to draw from; drawn by chance if not given.

        Raises FloatingPointError when a term of the matching cost is not finite, and ValueError
        when a target has no instances.
        """
        device, known = prediction.features.device, prediction.known
        truths = self._truths(targets)
        objects = mean_count(sum(len(t.ids) for t in truths), device, self.training)
        copies = mean_count(int(known.there.sum()), device, self.training)
        with torch.autocast(device.type, enabled=False):
            scenes = self._scenes(prediction, truths, points)
            parts = {
                "": (found_losses(prediction.found, scenes, self.weights), objects),
                "proposed_": (found_losses(prediction.proposed, scenes, self.weights), objects),
                "denoised_": (
                    told_losses(prediction.denoised, known, scenes, self.weights),
                    copies,
                ),
            }
        return {
            part + name: value / count
            for part, (sums, count) in parts.items()
            for name, value in sums.items()
        }

    def decode(self, prediction: BoxMaskPrediction, images: ImageList) -> list[Segmentation]:
        """The objects of each image, from the last layer; boxes are those around the masks."""
        results = []
        for index, shape in enumerate(images.shapes.tolist()):
            last = [part[-1, index] for part in prediction.found]
            queries = Queries(last[0], last[1], prediction.features[index])
            probs = last[0].float().sigmoid()
            objects = found_objects(queries, probs, images.canvas, shape, self.deciding)
            results.append(Segmentation(instances=objects))
        return results

    def _scenes(
        self,
        prediction: BoxMaskPrediction,
        truths: Sequence[MaskTargets],
        points: Sequence[Tensor] | None,
    ) -> list[Scene]:
        drawn: Sequence[Tensor | None] = [None] * len(truths) if points is None else points
        images = zip(truths, prediction.shapes, prediction.features, drawn, strict=True)
        return [Scene.of(t, shape, x, self.sampling, some) for t, shape, x, some in images]

    def _truths(self, targets: Targets) -> list[MaskTargets]:
        return [MaskTargets.of(t, "instance", self.classes) for t in targets]
