"""Transformer decoder of queries with boxes (Li et al., Mask DINO, CVPR 2023).

Queries are places that the classifier picks; each has a box, around which it looks and which every
layer corrects. Boxes are centre and sizes in array order, as parts of the image.

B batch, Q queries, P noisy queries while denoising, K classes, E channels, D axes, L layers,
*S the shape of the features.
"""

from __future__ import annotations

from math import ceil, log, pi
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..layers.deformable import DeformableAttention
from ..structures import ImageList
from .maskdino_denoising import Known, noisy, who_sees_whom
from .maskdino_selection import Places, box_logits, boxes_of_masks, image_share
from .masked_decoder import Attention
from .pixel_decoder import DecodedPixels

__all__ = ["Answers", "BoxDecoder", "BoxMaskPrediction"]

TEMPERATURE = 10_000.0
PRIOR = 0.01  # what every class is believed to be before the first step (Lin et al., 2017)


class Answers(NamedTuple):
    """What queries say, layer by layer: masks are embeddings times features.

    Attributes:
        class_logits: [L, B, Q, K], each class for itself.
        embeddings: [L, B, Q, E].
        boxes: [L, B, Q, 2D].
    """

    class_logits: Tensor
    embeddings: Tensor
    boxes: Tensor


class BoxMaskPrediction(NamedTuple):
    """What is predicted.

    Attributes:
        found: before the first layer and after each, L + 1.
        proposed: by the places that became queries, 1.
        denoised: of the noisy queries, L + 1; of no queries unless training with objects.
        known: what the noisy queries stand for.
        features: [B, E, *S].
        shapes: [B, D] of the images in pixels, which boxes are parts of.
    """

    found: Answers
    proposed: Answers
    denoised: Answers
    known: Known
    features: Tensor
    shapes: Tensor

    def mask_logits(self, layer: int = -1) -> Tensor:
        """[B, Q, *S] of one layer."""
        return torch.einsum("bqe,be...->bq...", self.found.embeddings[layer], self.features)


class BoxLayer(nn.Module):
    """Attention among queries, deformable attention around boxes, feed-forward; norms after."""

    def __init__(self, look: DeformableAttention, dim: int, num_heads: int, ffn: int) -> None:
        super().__init__()
        self.talk, self.look = Attention(dim, num_heads), look
        self.ffn = nn.Sequential(nn.Linear(dim, ffn), nn.ReLU(), nn.Linear(ffn, dim))
        self.talk_norm, self.look_norm, self.ffn_norm = (nn.LayerNorm(dim) for _ in range(3))

    def forward(
        self, x: Tensor, embedded: Tensor, boxes: Tensor, places: Places, seen: Tensor | None
    ) -> Tensor:
        """Queries [B, Q, E], their embedded boxes [B, Q, E], and boxes [B, Q, 2D] on the canvas."""
        x = self.talk_norm(x + self.talk(x + embedded, x + embedded, x, seen))
        looked = self.look(x + embedded, boxes, places.values, places.shapes, places.valid_mask)
        x = self.look_norm(x + looked)
        out: Tensor = self.ffn_norm(x + self.ffn(x))
        return out


class BoxDecoder(nn.Module):
    """Selection of queries, layers, and one classifier, mask embedding and box for all of them.

    Args:
        num_classes: K.
        num_queries: Q; images with fewer places have as many queries as places.
        dim: E.
        spatial_dims: D.
        layers: L.
        levels: of the pixel decoder, all of which are looked at.
        num_heads: of attention.
        ffn: width of the feed-forward part.
        noise: of the objects that are denoised.
    """

    def __init__(
        self,
        num_classes: int,
        num_queries: int,
        dim: int,
        spatial_dims: int,
        *,
        layers: int = 9,
        levels: int = 3,
        num_heads: int = 8,
        ffn: int = 2048,
        noise: float = 0.4,
    ) -> None:
        super().__init__()
        self.num_queries, self.noise = num_queries, noise
        self.waves = 2 * ceil(dim / 4)  # features of each coordinate of a box
        self.select, self.select_norm = nn.Linear(dim, dim), nn.LayerNorm(dim)
        self.layers = nn.ModuleList(
            BoxLayer(DeformableAttention(dim, levels, spatial_dims, num_heads), dim, num_heads, ffn)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.classify = nn.Linear(dim, num_classes)
        self.labels = nn.Embedding(num_classes, dim)
        self.embed = _mlp(dim, dim, dim, dim)
        self.correct = _mlp(dim, dim, dim, 2 * spatial_dims)
        self.embed_box = _mlp(2 * spatial_dims * self.waves, dim, dim)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """As published, but no class is believed in at first; boxes begin as proposed."""
        for weights in (*self.layers.parameters(), *self.embed_box.parameters()):
            if weights.ndim > 1:
                nn.init.xavier_uniform_(weights)
        for part in self.modules():
            if isinstance(part, DeformableAttention):
                part.reset_parameters()
        nn.init.constant_(self.classify.bias, -log((1 - PRIOR) / PRIOR))
        nn.init.zeros_(self.correct[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.correct[-1].bias)  # type: ignore[arg-type]

    def forward(
        self, pixels: DecodedPixels, images: ImageList, known: Known | None = None
    ) -> BoxMaskPrediction:
        """Predict; `known` objects are denoised on the way."""
        places = Places.of(pixels.levels[::-1], images)
        content, logits = self._selected(places)
        classes, embeddings = self._predict(content)
        proposed = Answers(classes[None], embeddings[None], logits.sigmoid()[None])
        around = boxes_of_masks(embeddings.detach(), pixels.features.detach(), images)
        empty = (around == 0).all(-1, keepdim=True)
        boxes = torch.where(empty, logits.detach(), box_logits(around)).sigmoid()
        known = known or Known.nothing(boxes)
        x, boxes, seen = self._joined(known, content.detach(), boxes)
        count = known.ids.shape[1]
        answers = self._refined(x, boxes, places, image_share(images)[:, None], seen)
        return BoxMaskPrediction(
            Answers(*(part[:, :, count:] for part in answers)),
            proposed,
            Answers(*(part[:, :, :count] for part in answers)),
            known,
            pixels.features,
            images.shapes,
        )

    def _selected(self, places: Places) -> tuple[Tensor, Tensor]:
        """The places that look most like a class: [B, Q, E], and logits of boxes [B, Q, 2D]."""
        values = places.values.where(places.usable[..., None], 0.0)
        values = self.select_norm(self.select(values))
        scores = self.classify(values).float().amax(-1).masked_fill(~places.usable, -torch.inf)
        rows = scores.topk(min(self.num_queries, scores.shape[1]), 1).indices[..., None]
        content = values.gather(1, rows.expand(-1, -1, values.shape[2]))
        proposals = places.proposals.expand(len(rows), -1, -1)
        proposals = proposals.gather(1, rows.expand(-1, -1, proposals.shape[2]))
        return content, proposals + _in_float32(self.correct, content)

    def _joined(
        self, known: Known, content: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Noisy queries before the others, their boxes likewise, and who sees whom."""
        labels, noisy_boxes = noisy(known, self.labels.num_embeddings, self.noise)
        there = known.there[..., None]
        copies = self.labels(labels).where(there, 0.0).to(content.dtype)
        seen = who_sees_whom(known, content.shape[1]) if known.ids.shape[1] else None
        return torch.cat([copies, content], 1), torch.cat([noisy_boxes, boxes], 1), seen

    def _refined(
        self, x: Tensor, boxes: Tensor, places: Places, share: Tensor, seen: Tensor | None
    ) -> Answers:
        """Answers before the first layer and after each; boxes are corrected from layer to layer.

        A layer looks around boxes that pass no gradient on, but the boxes it answers with correct
        those of the layer before with it (Zhang et al., DINO: "look forward twice"). Classes and
        masks are read off a norm of the norm, as published weights expect.
        """
        answers, before = [(*self._predict(x), boxes)], boxes
        for layer in self.layers:
            boxes = before.detach()
            embedded = self.embed_box(_waves(boxes, self.waves).to(x.dtype))
            x = layer(x, embedded, boxes * share.repeat(1, 1, 2), places, seen)
            out = self.norm(x)
            corrected = _in_float32(self.correct, out) + box_logits(before)
            answers.append((*self._predict(out), corrected.sigmoid()))
            before = (_in_float32(self.correct, x) + box_logits(boxes)).sigmoid()
        return Answers(*(torch.stack(parts) for parts in zip(*answers, strict=True)))

    def _predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(x)
        return self.classify(x), self.embed(x)


def _mlp(first: int, *widths: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    parts: list[nn.Module] = []
    for before, width in zip((first, *widths), widths, strict=False):
        parts += [nn.Linear(before, width), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def _in_float32(part: nn.Module, x: Tensor) -> Tensor:
    """What moves coordinates, under autocast too: bfloat16 is off by pixels in a large image."""
    if x.device.type == "meta":  # knows no autocast; only shapes are asked for
        return part(x.float())  # type: ignore[no-any-return]
    with torch.autocast(x.device.type, enabled=False):
        moved: Tensor = part(x.float())
    return moved


def _waves(boxes: Tensor, features: int) -> Tensor:
    """Sines and cosines of each coordinate: [B, Q, 2D] to [B, Q, 2D * features]."""
    powers = torch.arange(0, features, 2, device=boxes.device) / features
    angles = 2 * pi * boxes[..., None] / TEMPERATURE**powers
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-3)
