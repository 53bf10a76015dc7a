"""Mask R-CNN (He et al., ICCV 2017) on a feature pyramid (Lin et al., CVPR 2017), N-D.

Proposals of regions (Ren et al., NeurIPS 2015), then class, box and mask of each region.

B images, L levels, N anchors of all levels, R regions, K classes with the background, D axes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...geometry import per_axis
from ...layers import every_second
from ...losses import checked_weights
from ...structures import Boxes, Classes, ImageList, Instances, Pyramid, PyramidSpec, Segmentation
from .. import Head, Targets
from .alignment import Alignment, checked_alignment
from .anchors import Anchors, Sizes
from .box_coding import BoxCoding
from .branches import BoxBranch, MaskBranch
from .detecting import Detecting, Detections
from .matching import Matching, Sampling
from .pasting import pasted
from .pooling import Pooling
from .published import load_published
from .roi_targets import mask_targets
from .rpn import RegionProposals, Selection
from .samples import AnchorSamples, Regions, RegionSamples, anchor_samples, sampled_regions
from .truth import ObjectTruth

__all__ = ["MaskRCNN", "RCNNPrediction"]

log = logging.getLogger("microtome")

WEIGHTS = {"objectness": 1.0, "proposal": 1.0, "class": 1.0, "box": 1.0, "mask": 1.0}
PROPOSAL_OVERLAP = 0.7
AT_ONCE = 2**26  # numbers of pooled features that are held at a time where nothing is learnt


class Found(NamedTuple):
    """What is in the images: the detections, and the logits [N, *M] of their classes' masks."""

    objects: Detections
    masks: Tensor


class RCNNPrediction(NamedTuple):
    """What is predicted.

    Attributes:
        anchors, regions: what is judged; None without targets.
        found: None while training.
    """

    anchors: AnchorSamples | None
    regions: RegionSamples | None
    found: Found | None


class MaskRCNN(Head[RCNNPrediction]):
    """Boxes first, then a small mask in each.

    All of the pyramid's levels need the same number of channels, as `FPN` and `SimplePyramid` give
    them.

    Args:
        spec: what the neck returns; one level or more.
        classes: the class table, of which the first is the background.
        alignment: how boxes lie on pixels: `areas`, or `torchvision` for its published weights.
        anchor_sizes: for each level, the further one last, in pixels, each one number or one per
            axis; eight cells of the level when not given.
        ratios: of anchors, height over width.
        z_ratios: of anchors, what the size along z is multiplied by.
        further: levels that are added for anchors alone, each of every second cell of the last.
        rpn_layers: convolutions before anchors are judged.
        box_cells: of a region for its class and box, per axis; one number or one per axis.
        hidden: channels of the two layers behind them.
        mask_cells: of a region for its mask, which has twice as many.
        mask_layers: convolutions of the mask.
        mask_channels: of these.
        anchors_judged: of an image in a training step.
        regions_judged: of an image in a training step.
        proposals: how many an image has, in training and in use.
        min_score: objects below are not decoded.
        overlap: the IoU of boxes above which the worse of two objects of a class is dropped.
        max_objects: the most that are found in an image or tile.
        weights: of the losses `objectness`, `proposal`, `class`, `box` and `mask`, 1 each.
        pretrained: a local file or folder of a Mask R-CNN in torchvision's layout; the backbone
            and the neck take their own part of it. What depends on the classes and differs stays
            random, which is logged as a warning.

    Raises ValueError for levels of unequal channels, for one class only, for numbers that cannot
    be, and for published weights of a head of other sizes.
    """

    fullgraph = False
    scored = False

    def __init__(
        self,
        spec: PyramidSpec,
        classes: Classes,
        *,
        alignment: Alignment = "areas",
        anchor_sizes: Sizes | None = None,
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        z_ratios: Sequence[float] = (1.0,),
        further: int = 1,
        rpn_layers: int = 1,
        box_cells: int | Sequence[int] = 7,
        hidden: int = 1024,
        mask_cells: int | Sequence[int] = 14,
        mask_layers: int = 4,
        mask_channels: int = 256,
        anchors_judged: int = 256,
        regions_judged: int = 512,
        proposals: tuple[int, int] = (2000, 1000),
        min_score: float = 0.5,
        overlap: float = 0.5,
        max_objects: int = 1000,
        weights: Mapping[str, float] | None = None,
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        _check(spec, classes, (rpn_layers, mask_layers, anchors_judged, regions_judged))
        checked_alignment(alignment)
        dims, channels = spec.spatial_dims, spec.channels[0]
        self.classes, self.alignment, self.further = classes.checked(), alignment, further
        self.weights = checked_weights(weights, WEIGHTS)
        self.box_cells, self.mask_cells = per_axis(box_cells, dims), per_axis(mask_cells, dims)
        coarser = [tuple(s * 2 ** (i + 1) for s in spec.strides[-1]) for i in range(further)]
        self.anchors = Anchors((*spec.strides, *coarser), anchor_sizes, ratios, z_ratios, alignment)
        self.pooling = Pooling(spec.strides, alignment)
        self.on_anchors = (
            Matching(0.7, 0.3, forced=True), Sampling(anchors_judged, 0.5), BoxCoding(),
        )  # fmt: skip
        self.on_regions = (
            Matching(0.5, 0.5, forced=False), Sampling(regions_judged, 0.25), BoxCoding(10, 5),
        )  # fmt: skip
        self.proposals = proposals
        self.detecting = Detecting(min_score, overlap, max_objects)
        count = len(self.anchors.shapes[0])
        self.rpn = RegionProposals(dims, channels, count, rpn_layers)
        self.boxes = BoxBranch(channels, self.box_cells, hidden, classes.num_classes)
        self.masks = MaskBranch(dims, channels, mask_channels, mask_layers, classes.num_classes)
        if pretrained is not None:
            load_published(self, pretrained)

    def restated(self) -> dict[str, Any]:
        """Say what was built, not where weights were found: rebuilding needs no file."""
        return {"pretrained": None}

    def forward(
        self, pyramid: Pyramid, images: ImageList, targets: Targets | None = None
    ) -> RCNNPrediction:
        """Maps [B, C, *S_l], finest first, to what is judged, and in eval mode what is found.

        Raises ValueError in train mode without targets, and for targets without objects.
        """
        if self.training and targets is None:
            raise ValueError("Mask R-CNN learns from regions around objects: give the targets")
        levels = list(pyramid)
        for _ in range(self.further):
            levels.append(every_second(levels[-1]))
        logits, deltas = self.rpn(tuple(levels))
        grids = [tuple(level.shape[2:]) for level in levels]
        anchors = self.anchors(grids, images.canvas, images.tensor.device)
        proposals = self._propose(logits, deltas, anchors, images.shapes)
        of_anchors, of_regions = None, None
        if targets is not None:
            truths = [
                ObjectTruth.of(target, shape, self.classes)
                for target, shape in zip(targets, images.shapes.tolist(), strict=True)
            ]
            flat = torch.cat(logits, 1), torch.cat(deltas, 1), torch.cat(anchors)
            of_anchors = anchor_samples(*flat, truths, self.on_anchors)
            of_regions = self._judge(pyramid, proposals, truths)
        found = None if self.training else self._find(pyramid, proposals, images.shapes)
        return RCNNPrediction(of_anchors, of_regions, found)

    def losses(self, prediction: RCNNPrediction, targets: Targets) -> dict[str, Tensor]:
        """Losses of what `forward` chose to judge, with the targets it was given.

        Raises ValueError when it was given none.
        """
        if prediction.anchors is None or prediction.regions is None:
            raise ValueError("the losses need a prediction that was made with targets")
        with torch.autocast(prediction.anchors.logits.device.type, enabled=False):
            return {**prediction.anchors.losses(), **prediction.regions.losses()}

    def decode(self, prediction: RCNNPrediction, images: ImageList) -> list[Segmentation]:
        """Objects with boxes, scores and masks, best first; of resized images at their source's.

        Raises ValueError for a prediction made in train mode.
        """
        if prediction.found is None:
            raise ValueError("objects are decoded from a prediction that was made in eval mode")
        have = images.shapes
        want = have if images.sources is None else images.sources
        image = prediction.found.objects.image_index
        return [
            self._decoded(prediction.found, (image == i).nonzero().flatten(), have[i], want[i])
            for i in range(len(images))
        ]

    def _decoded(self, found: Found, rows: Tensor, have: Tensor, want: Tensor) -> Segmentation:
        boxes, _, labels, scores = (part[rows] for part in found.objects)
        if len(rows) == self.detecting.most:
            log.warning(f"{len(rows)} objects in an image or tile: raise the head's `max_objects`")
        boxes = Boxes(boxes).resize(have, want).tensor
        masks, kept = pasted(
            found.masks[rows].float().sigmoid(), boxes, tuple(want.tolist()), self.alignment
        )
        return Segmentation(
            instances=Instances(labels[kept], Boxes(boxes[kept]), scores[kept], masks)
        )

    @torch.no_grad()
    def _propose(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        shapes: Tensor,
    ) -> list[Tensor]:
        """Boxes [n, 2D] of each image."""
        count = self.proposals[0 if self.training else 1]
        selection = Selection(count, count, PROPOSAL_OVERLAP)
        boxes, scores = [], []
        for index, *level in zip(selection.best(logits), logits, deltas, anchors, strict=True):
            scored, moved, around = level
            rows = torch.arange(len(index), device=index.device)[:, None]
            scores.append(scored[rows, index])
            boxes.append(self.on_anchors[2].decode(moved[rows, index], around[index]))
        return selection.proposed(boxes, scores, shapes)

    def _judge(
        self, pyramid: Pyramid, proposals: Sequence[Tensor], truths: Sequence[ObjectTruth]
    ) -> RegionSamples:
        some = sampled_regions(proposals, truths, self.on_regions)
        logits, deltas = self.boxes(
            self.pooling(pyramid, some.boxes, some.image_index, self.box_cells)
        )
        rows = (some.labels > 0).nonzero().flatten()
        kinds = some.labels[rows]
        pooled = self.pooling(pyramid, some.boxes[rows], some.image_index[rows], self.mask_cells)
        masks = self.masks(pooled)
        own = torch.arange(len(rows), device=rows.device)
        covered, known = self._mask_targets(some, rows, truths, masks.shape[2:])
        return RegionSamples(
            logits,
            some.labels,
            deltas[rows, kinds],
            some.wanted,
            masks[own, kinds].float(),
            covered,
            known,
        )

    def _mask_targets(
        self, some: Regions, rows: Tensor, truths: Sequence[ObjectTruth], cells: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """[P, *M] twice, for the regions `rows`, which are in the order of their images."""
        parts = []
        with torch.autocast(rows.device.type, enabled=False):
            for image, truth in enumerate(truths):
                here = rows[some.image_index[rows] == image]
                parts.append(
                    mask_targets(truth, some.boxes[here], some.objects[here], cells, self.alignment)
                )
        covered, known = (torch.cat(part) for part in zip(*parts, strict=True))
        return covered, known > 0.5

    def _find(self, pyramid: Pyramid, proposals: Sequence[Tensor], shapes: Tensor) -> Found:
        boxes = torch.cat(list(proposals))
        index = torch.cat(
            [torch.full_like(p[:, 0], i, dtype=torch.long) for i, p in enumerate(proposals)]
        )
        answers = [
            self.boxes(self.pooling(pyramid, boxes[rows], index[rows], self.box_cells))
            for rows in self._parts(len(boxes), pyramid, self.box_cells)
        ]
        logits, deltas = (torch.cat(answer) for answer in zip(*answers, strict=True))
        coding = self.on_regions[2]
        objects = self.detecting.detect(boxes, index, (logits, deltas), shapes, coding)
        masks = []
        for rows in self._parts(len(objects.boxes), pyramid, self.mask_cells):
            where = objects.boxes[rows], objects.image_index[rows]
            of_classes = self.masks(self.pooling(pyramid, *where, self.mask_cells))
            own = torch.arange(len(of_classes), device=index.device)
            masks.append(of_classes[own, objects.labels[rows]])
        return Found(objects, torch.cat(masks))

    def _parts(self, count: int, pyramid: Pyramid, cells: Sequence[int]) -> list[slice]:
        """Regions that are pooled at a time: one part at least, so that its shapes are known."""
        step = max(1, AT_ONCE // (pyramid[0].shape[1] * prod(cells)))
        return [slice(start, start + step) for start in range(0, max(count, 1), step)]


def _check(spec: PyramidSpec, classes: Classes, counts: Sequence[int]) -> None:
    wrong = []
    if len({*spec.channels}) > 1:
        wrong.append(f"levels of equal channels, as a neck gives them, got {[*spec.channels]}")
    if classes.num_classes < 2:
        wrong.append(f"a background and another class, got {classes.names}")
    if min(counts) < 1:
        wrong.append("at least one layer, anchor and region of each kind")
    if wrong:
        raise ValueError("Mask R-CNN: expected " + "; ".join(wrong))
