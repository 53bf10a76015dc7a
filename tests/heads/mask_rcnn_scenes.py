"""What tests of Mask R-CNN share: small pyramids, and images of cubes."""

import torch

from microtome.heads.mask_rcnn import MaskRCNN
from microtome.structures import (
    Boxes,
    Classes,
    ImageList,
    Instances,
    LabelLayers,
    PyramidSpec,
    Segmentation,
)

CLASSES = Classes(("background", "gland", "nucleus"))
SMALL = {"hidden": 32, "mask_channels": 8, "mask_layers": 1, "box_cells": 3, "mask_cells": 4}
PLANE = PyramidSpec((16, 16), ((4.0, 4.0), (8.0, 8.0)), (8, 8))
VOLUME = PyramidSpec((16, 16), ((1.0, 2.0, 2.0), (2.0, 4.0, 4.0)), (2, 4, 4))
PATCH14 = PyramidSpec((16, 16), ((3.5, 3.5), (14.0, 14.0)), (14, 14))


def objects_of(ids, labels=None, boxes=False):
    """The truth of a map of numbers, its classes in turn."""
    layers = LabelLayers.from_ids(ids)
    labels = torch.arange(len(layers)) % 2 + 1 if labels is None else labels
    own = Boxes(layers.boxes().float()) if boxes else None
    return Segmentation(instances=Instances(labels, own, masks=layers)).with_classes()


def blocks(shape, size):
    """Cubes of `size`, three sizes apart along each axis."""
    ids = torch.zeros(*shape, dtype=torch.long)
    starts = [range(size, s - size, 3 * size) for s in shape]
    for number, corner in enumerate(torch.cartesian_prod(*map(torch.tensor, starts)), start=1):
        ids[tuple(slice(int(c), int(c) + size) for c in corner)] = number
    return ids


def setting(spec, **options):
    """A head, one batch of maps, and its images."""
    torch.manual_seed(0)
    head = MaskRCNN(spec, CLASSES, **SMALL, **options)
    canvas = [8 * m for m in spec.multiple]
    images = ImageList.pad([torch.zeros(1, *canvas)] * 2, spec.multiple)
    maps = [
        torch.randn(2, c, *(int(n / s) for n, s in zip(canvas, strides, strict=True)))
        for c, strides in zip(spec.channels, spec.strides, strict=True)
    ]
    return head, tuple(maps), images
