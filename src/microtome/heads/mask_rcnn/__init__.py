"""Mask R-CNN (He et al., ICCV 2017) on a feature pyramid (Lin et al., CVPR 2017), N-D.

Proposals of regions (Ren et al., NeurIPS 2015), then class, box and mask of each region.

B images, L levels, N anchors of all levels, R regions, K classes with the background, D axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...geometry import per_axis
from ...layers import every_second
from ...losses import checked_weights
from ...structures import Classes, ImageList, Pyramid, PyramidSpec, Segmentation
from .. import Head, Targets
from .alignment import Alignment, checked_alignment
from .anchors import Anchors, Sizes
from .branches import BoxBranch, MaskBranch
from .detecting import Detecting
from .pooling import Pooling
from .proposing import Judged, Proposing
from .published import load_published
from .region_stage import Found, RegionStage
from .results import RCNNPrediction, Results
from .rpn import RegionProposals
from .truth import ObjectTruth

__all__ = ["Found", "MaskRCNN", "RCNNPrediction"]

WEIGHTS = {"objectness": 1.0, "proposal": 1.0, "class": 1.0, "box": 1.0, "mask": 1.0}


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
        self.classes, self.further = classes.checked(), further
        self.weights = checked_weights(weights, WEIGHTS)
        coarser = [tuple(s * 2 ** (i + 1) for s in spec.strides[-1]) for i in range(further)]
        anchors = Anchors((*spec.strides, *coarser), anchor_sizes, ratios, z_ratios, alignment)
        self.rpn = RegionProposals(dims, channels, len(anchors.shapes[0]), rpn_layers)
        self.proposing, self.proposals = Proposing(anchors, anchors_judged), proposals
        cells = per_axis(box_cells, dims), per_axis(mask_cells, dims)
        kinds = classes.num_classes
        self.regions = RegionStage(
            Pooling(spec.strides, alignment),
            (
                BoxBranch(channels, cells[0], hidden, kinds),
                MaskBranch(dims, channels, mask_channels, mask_layers, kinds),
            ),
            cells,
            regions_judged,
            Detecting(min_score, overlap, max_objects),
        )
        self.results = Results(alignment, max_objects)
        if pretrained is not None:
            load_published(self, pretrained)

    def _sifted(self, min_score: float) -> bool:
        self.regions.detecting = self.regions.detecting._replace(min_score=min_score)
        return True

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
        judged = self._judged(pyramid, images)
        count = self.proposals[0 if self.training else 1]
        proposals = self.proposing.propose(judged, images.shapes, count)
        of_anchors, of_regions = None, None
        if targets is not None:
            truths = [
                ObjectTruth.of(target, shape, self.classes)
                for target, shape in zip(targets, images.shapes.tolist(), strict=True)
            ]
            of_anchors = self.proposing.samples(judged, truths)
            of_regions = self.regions.judge(pyramid, proposals, truths)
        found = None if self.training else self.regions.find(pyramid, proposals, images.shapes)
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
        return self.results.of(prediction.found, images)

    def _judged(self, pyramid: Pyramid, images: ImageList) -> Judged:
        levels = list(pyramid)
        for _ in range(self.further):
            levels.append(every_second(levels[-1]))
        grids = [tuple(level.shape[2:]) for level in levels]
        anchors = self.proposing.anchors(grids, images.canvas, images.tensor.device)
        return Judged(anchors, *self.rpn(tuple(levels)))


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
