"""Transformer decoder of queries with boxes (Li et al., Mask DINO, CVPR 2023).

Queries are places that the classifier picks; each has a box, around which it looks and which every
layer corrects.

B batch, Q queries, P noisy queries while denoising, K classes, E channels, D axes, L layers,
*S the shape of the features.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn

from ..layers.deformable import DeformableAttention
from ..structures import ImageList
from .maskdino_boxes import (
    BoxCorrection,
    BoxEmbedding,
    box_logits,
    ellipses,
    image_share,
    parabolas,
)
from .maskdino_denoising import Known, noisy, who_sees_whom
from .maskdino_prediction import Answers, BoxMaskPrediction
from .maskdino_selection import Places, around_masks
from .pixel_decoder import DecodedPixels
from .query_layers import Attention, mlp

__all__ = ["BoxDecoder"]

WIDER = 8  # the feed-forward part than the queries
PRIOR = 0.01  # what every class is believed to be before the first step (Lin et al., 2017)


class BoxLayer(nn.Module):
    """Attention among queries, deformable attention around boxes, feed-forward; norms after."""

    def __init__(self, look: DeformableAttention, dim: int, num_heads: int) -> None:
        super().__init__()
        self.talk, self.look = Attention(dim, num_heads), look
        self.ffn = mlp(dim, WIDER * dim, dim)
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
        noise: of the objects that are denoised.
        boxes_of_masks: whether queries begin with the boxes around the masks of their places.
        masks_of_boxes: whether masks begin as ellipses in boxes.
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
        noise: float = 0.4,
        boxes_of_masks: bool = True,
        masks_of_boxes: bool = False,
    ) -> None:
        super().__init__()
        self.num_queries, self.noise = num_queries, noise
        self.boxes_of_masks, self.masks_of_boxes = boxes_of_masks, masks_of_boxes
        self.select, self.select_norm = nn.Linear(dim, dim), nn.LayerNorm(dim)
        self.layers = nn.ModuleList(
            BoxLayer(DeformableAttention(dim, levels, spatial_dims, num_heads), dim, num_heads)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.classify = nn.Linear(dim, num_classes)
        self.labels = nn.Embedding(num_classes, dim)
        self.embed = mlp(dim, dim, dim, dim)
        self.correct = BoxCorrection(dim, spatial_dims)
        self.embed_box = BoxEmbedding(dim, spatial_dims)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """As published, but no class is believed in at first."""
        for weights in self.layers.parameters():
            if weights.ndim > 1:
                nn.init.xavier_uniform_(weights)
        for part in self.modules():
            if isinstance(part, DeformableAttention):
                part.reset_parameters()
        nn.init.constant_(self.classify.bias, -log((1 - PRIOR) / PRIOR))

    def forward(
        self, pixels: DecodedPixels, images: ImageList, known: Known | None = None
    ) -> BoxMaskPrediction:
        """Predict; `known` objects are denoised on the way."""
        places = Places.of(pixels.levels[::-1], images)
        content, logits = self._selected(places)
        classes, embeddings = self._predict(content)
        proposed = Answers(classes[None], embeddings[None], logits.sigmoid()[None])
        first = logits.detach()
        if self.boxes_of_masks:
            first = around_masks(first, embeddings.detach(), pixels.features.detach(), images)
        boxes = first.sigmoid()
        known = known or Known.nothing(boxes)
        x, boxes, seen = self._joined(known, content.detach(), boxes)
        count = known.ids.shape[1]
        answers = self._refined(x, boxes, places, image_share(images)[:, None], seen)
        features = pixels.features
        if self.masks_of_boxes:
            answers, proposed = _in_boxes(answers), _in_boxes(proposed)
            features = torch.cat([features.float(), parabolas(features.shape[2:], images)], 1)
        return BoxMaskPrediction(
            Answers(*(part[:, :, count:] for part in answers)),
            proposed,
            Answers(*(part[:, :, :count] for part in answers)),
            known,
            features,
            images.shapes,
        )

    def _selected(self, places: Places) -> tuple[Tensor, Tensor]:
        """The places that look most like a class: [B, Q, E], and logits of boxes [B, Q, 2D]."""
        values = places.values.where(places.usable[..., None], 0.0)
        values = self.select_norm(self.select(values))
        scores = self.classify(values).float().amax(-1).masked_fill(~places.usable, -torch.inf)
        chosen = scores.topk(min(self.num_queries, scores.shape[1]), 1).indices
        content = _rows(values, chosen)
        return content, self.correct(content, _rows(places.proposals, chosen))

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
            embedded = self.embed_box(boxes, x.dtype)
            x = layer(x, embedded, boxes * share.repeat(1, 1, 2), places, seen)
            out = self.norm(x)
            answers.append((*self._predict(out), self.correct(out, box_logits(before)).sigmoid()))
            before = self.correct(x, box_logits(boxes)).sigmoid()
        return Answers(*(torch.stack(parts) for parts in zip(*answers, strict=True)))

    def _predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(x)
        return self.classify(x), self.embed(x)


def _rows(x: Tensor, chosen: Tensor) -> Tensor:
    """Of [B or 1, N, C] those of the indices [B, Q]: [B, Q, C]."""
    index = chosen[..., None].expand(-1, -1, x.shape[2])
    return x.expand(len(chosen), -1, -1).gather(1, index)


def _in_boxes(answers: Answers) -> Answers:
    """With masks that are added to ellipses in the boxes, which learn nothing from it."""
    more = ellipses(answers.boxes.detach())
    return answers._replace(embeddings=torch.cat([answers.embeddings.float(), more], -1))
