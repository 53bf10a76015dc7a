"""normalise -> pad -> backbone -> neck -> head: the one place where they meet.

B batch, C channels, K classes, *S spatial shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..backbones import Backbone
from ..heads import Head, Targets
from ..inference import Predicts, predict, predict_resized
from ..inference.augmentation import Views, Ways, averaged
from ..inference.predict import Progress
from ..losses import weighted_sum
from ..necks import Neck
from ..structures import Classes, DataSample, ImageList, Pyramid, PyramidSpec, Segmentation
from .card import Facts
from .evaluating import evaluating
from .normalising import Kind, Normaliser, check_samples
from .resize import Resize, resized, restored
from .savable import Savable
from .usage import Image, Usage

MakeNeck = Callable[[PyramidSpec], Neck]
MakeHead = Callable[[PyramidSpec, Classes], Head[Any]]


class Segmenter(Savable):
    """An image model from finished backbone and makers of neck and head.

    A maker is a class, or a partial of it, that is called with what the parts before it promise, so
    that nothing is said twice: `Segmenter(UNet(), Dense, classes)`.

    Args:
        backbone: image to feature maps.
        head: called with the pyramid's spec and the class table.
        classes: the class table.
        neck: called with the backbone's spec.
        normalisation: what is subtracted and divided by, once. `backbone`: the statistics its
            weights were trained with; `zscore` and `percentile`: each source's own; `dataset`: the
            training set's, given by `set_statistics` and saved with the weights.
        resize: makes every image or tile that large before anything looks at it; results come back
            at the size it had.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: MakeHead,
        classes: Classes,
        neck: MakeNeck | None = None,
        normalisation: Kind = "backbone",
        resize: Resize | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.classes = backbone, classes.checked()
        self.neck = None if neck is None else neck(backbone.spec)
        self.spec = backbone.spec if self.neck is None else self.neck.spec
        self.head = head(self.spec, classes)
        self.normaliser = Normaliser(normalisation, backbone.normalisation, backbone.in_channels)
        self.resize = None if resize is None else resize.checked()
        self.usage = Usage.usual(backbone.in_channels)

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of each loss."""
        return self.head.weights

    @property
    def needs_statistics(self) -> bool:
        """Whether `set_statistics` has to be called before the first image."""
        return self.normaliser.needs_statistics

    def set_statistics(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Give the training set's mean and deviation per channel, in unit range.

        Raises ValueError unless normalisation is `dataset` and the lengths are C.
        """
        self.normaliser.set_statistics(mean, std)

    def prepare(self, samples: Sequence[DataSample]) -> tuple[ImageList, list[Segmentation] | None]:
        """Normalise, resize, pad images and truth to one canvas that backbone and neck can divide.

        Returns the images, and the targets if every sample has a truth.

        Raises ValueError for images of another number of channels or axes, for published statistics
        on images whose white was only measured, and for missing statistics of the data set.
        """
        check_samples(samples, self.backbone.in_channels, self.spec.spatial_dims)
        pairs = zip(samples, self.normaliser(samples), strict=True)
        ready = [replace(s, image=image) for s, image in pairs]
        if self.resize is not None:
            ready = [resized(s, self.resize.shape(s.shape)) for s in ready]
        tensors, spacing = [s.image for s in ready], [s.spacing for s in ready]
        images = ImageList.pad(tensors, self.spec.multiple, spacing)
        if self.resize is not None:
            have = [s.shape for s in samples]
            images = replace(images, sources=torch.tensor(have, device=images.shapes.device))
        truths = [s.truth for s in ready if s.truth is not None]
        if len(truths) < len(samples):
            return images, None
        return images, [t.pad(images.canvas, self.classes.ignore_index) for t in truths]

    def features(self, images: ImageList) -> Pyramid:
        """Maps that the head reads."""
        pyramid: Pyramid = self.backbone(images.tensor, images.spacing)
        return pyramid if self.neck is None else self.neck(pyramid)

    def forward(self, images: ImageList, targets: Targets | None = None) -> Any:
        """Prepared images to the head's prediction; this is what is compiled and sharded."""
        return self.head(self.features(images), images, targets)

    def losses(self, prediction: Any, targets: Targets) -> dict[str, Tensor]:
        """Named losses, unweighted."""
        return self.head.losses(prediction, targets)

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Their weighted sum; raises KeyError when a loss or a weight is missing."""
        return weighted_sum(losses, self.weights)

    def decode(self, prediction: Any, images: ImageList) -> list[Segmentation]:
        """One result per image, at the shape it came in; decided in float32, autocast or not."""
        with torch.autocast(images.tensor.device.type, enabled=False):
            results = self.head.decode(prediction, images)
            if images.sources is None:
                return results
            shapes = [tuple(shape) for shape in images.sources.tolist()]
            return [restored(r, shape) for r, shape in zip(results, shapes, strict=True)]

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        """Results with scores, on the model's device; no tiles, no gradients."""
        device = next(self.parameters()).device
        with evaluating(self), torch.inference_mode():
            images, _ = self.prepare([replace(s, truth=None).to(device) for s in samples])
            return self.decode(self(images), images)

    def predict(
        self,
        image: Image,
        *,
        spacing: Sequence[float] | None = None,
        tile: int | Sequence[int] | None = None,
        overlap: float | None = None,
        batch_size: int = 4,
        tta: Views | Ways | None = None,
        progress: Progress | None = None,
    ) -> Segmentation:
        """Segment one image of any size.

        Args:
            image: a path; a tensor [C, *S]; a NumPy array [*S] or [*S, C]; or a source. Arrays hold
                8-bit integers, or floats with 0 for black and 1 for white.
            spacing: micrometres per pixel and axis, where the file does not say.
            tile: pixels per axis of a tile; `usage.tile` by default.
            overlap: what neighbours share: below 1 a part of a tile, from 1 on pixels;
                `usage.overlap` by default.
            batch_size: tiles at once.
            tta: also predict tiles mirrored, turned, resized; see `averaging`.
            progress: called with the number of tiles done and of all.

        Returns, on the CPU, the class map `classes` [*S]; or `instances`, where the head answers
        with objects.
        """
        usage, model = self.usage, self.averaging(tta)
        source = usage.open(image, self.spec.spatial_dims, spacing)
        tile = usage.tile if tile is None else tile
        if usage.mode == "resize":
            return predict_resized(source, model, size=tile)
        overlap = usage.overlap if overlap is None else overlap
        return predict(
            source, model, tile=tile, overlap=overlap, batch_size=batch_size, progress=progress
        )

    def averaging(self, tta: Views | Ways | None) -> Predicts:
        """This model, asked about every tile mirrored, turned by right angles, or both; resized.

        None is the model as it is. Raises ValueError for a head that answers with objects.
        """
        return averaged(self, tta, scored=self.head.scored)

    def facts(self) -> Facts:
        """What its model card tells."""
        return Facts(
            classes=self.classes,
            backbone=type(self.backbone).__name__,
            origin=self.backbone.origin,
            head=type(self.head).__name__,
            parameters=sum(p.numel() for p in self.parameters()),
            in_channels=self.backbone.in_channels,
            spatial_dims=self.spec.spatial_dims,
            normalisation=self.normaliser.kind,
            usage=self.usage,
        )
