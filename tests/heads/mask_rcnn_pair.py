"""torchvision's Mask R-CNN beside ours, with equal weights, all of them random."""

from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torchvision.models.detection import MaskRCNN as Theirs
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.resnet import resnet18

from microtome.backbones.family import Weights
from microtome.backbones.resnet import ResNet
from microtome.heads.mask_rcnn import MaskRCNN
from microtome.models import Segmenter
from microtome.models.resize import Resize
from microtome.necks.fpn import FPN
from microtome.structures import (
    Boxes,
    Classes,
    DataSample,
    Instances,
    LabelLayers,
    Segmentation,
)

CLASSES = Classes(("background", "gland", "nucleus"))


class Pair(NamedTuple):
    """Both; batch norms of theirs stay in eval mode, and it draws nothing but its samples."""

    ours: Segmenter
    theirs: nn.Module

    def train(self):
        self.ours.train()
        self.theirs.train()
        for module in self.theirs.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    def eval(self):
        self.ours.eval()
        self.theirs.eval()


def make_pair(folder, shortest=96, longest=160, depth=18, **detecting) -> Pair:
    """`depth` 18 is small; 50 is `maskrcnn_resnet50_fpn` as it is."""
    torch.manual_seed(0)
    sizes = {"num_classes": 3, "min_size": shortest, "max_size": longest}
    found = {"box_score_thresh": 0.05, "box_detections_per_img": 100, **detecting}
    theirs = small(**sizes, **found) if depth == 18 else published(**sizes, **found)
    scattered(theirs)
    theirs.transform.torch_choice = lambda sizes: sizes[0]
    file = folder / "torchvision.pth"
    torch.save(theirs.state_dict(), file)
    sizes = {} if depth == 50 else {"hidden": 64}
    neck = 256 if depth == 50 else 32
    ours = Segmenter(
        ResNet(depth, norm="frozen", weights=Weights(str(file))),
        partial(
            MaskRCNN,
            alignment="torchvision",
            anchor_sizes=None if depth == 50 else [[s] for s in (16, 32, 64, 128, 256)],
            mask_channels=neck,
            min_score=found["box_score_thresh"],
            max_objects=found["box_detections_per_img"],
            pretrained=str(file),
            **sizes,
        ),
        CLASSES,
        partial(FPN, out_channels=neck, pretrained=str(file)),
        resize=Resize(shortest, longest),
    )
    return Pair(ours, theirs)


def published(**options) -> nn.Module:
    return maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, **options)


def small(**options) -> nn.Module:
    """ResNet-18, 32 channels."""
    layers = {f"layer{i + 1}": str(i) for i in range(4)}
    backbone = BackboneWithFPN(resnet18(weights=None), layers, [64, 128, 256, 512], 32)
    anchors = AnchorGenerator(tuple((s,) for s in (16, 32, 64, 128, 256)), ((0.5, 1.0, 2.0),) * 5)
    classes = options.pop("num_classes")
    return Theirs(
        backbone,
        rpn_anchor_generator=anchors,
        box_head=TwoMLPHead(32 * 49, 64),
        box_predictor=FastRCNNPredictor(64, classes),
        mask_head=MaskRCNNHeads(32, (32,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(32, 32, classes),
        **options,
    )


def scattered(model: nn.Module) -> None:
    """Biases and statistics away from 0 and 1; answers that differ from place to place."""
    for name, value in model.named_buffers():
        if name.endswith("running_mean"):
            nn.init.normal_(value, std=0.1)
        if name.endswith("running_var"):
            nn.init.uniform_(value, 0.8, 1.2)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(value, std=0.05)
            if name.startswith("rpn.head"):
                value.mul_(3)
            if ".bn2.weight" in name or ".bn3.weight" in name:
                value.mul_(0.3)
        model.roi_heads.box_predictor.cls_score.weight.mul_(8)
        model.roi_heads.box_predictor.bbox_pred.weight.mul_(4)


def batch(shapes, objects=6, seed=0) -> list[DataSample]:
    """Images with discs, a class for each."""
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for shape in shapes:
        grid = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij"))
        ids = torch.zeros(shape, dtype=torch.long)
        for number in range(1, objects + 1):
            centre = torch.rand(2, generator=generator) * torch.tensor(shape)
            radius = 4 + 10 * torch.rand(1, generator=generator)
            ids[((grid - centre[:, None, None]) ** 2).sum(0) < radius**2] = number
        layers = LabelLayers.from_ids(ids)
        labels = torch.arange(len(layers)) % 2 + 1
        image = torch.rand(3, *shape, generator=generator) * 0.3
        image = image + 0.3 * (ids > 0) + 0.1 * (ids % 2)
        truth = Instances(labels, Boxes(layers.boxes().float()), masks=layers)
        samples.append(DataSample(image, Segmentation(instances=truth)))
    return samples


def theirs_of(samples) -> tuple[list, list]:
    """Images and targets as torchvision takes them."""
    targets = []
    for sample in samples:
        objects = sample.truth.instances
        targets.append(
            {
                "boxes": objects.boxes.to_format("xyxy"),
                "labels": objects.labels,
                "masks": objects.masks.dense().tensor.to(torch.uint8),
            }
        )
    return [s.image for s in samples], targets
