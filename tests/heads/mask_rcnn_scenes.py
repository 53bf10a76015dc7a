"""What tests of Mask R-CNN share: small pyramids, and images of cubes."""

import mask_heads
import torch
from mask_heads import CLASSES, batch

from microtome.heads.mask_rcnn import MaskRCNN
from microtome.structures import Boxes, Instances, LabelLayers, Segmentation

SMALL = {"hidden": 32, "mask_channels": 8, "mask_layers": 1, "box_cells": 3, "mask_cells": 4}
PLANE, VOLUME = (s._replace(channels=(16, 16)) for s in (mask_heads.PLANE, mask_heads.VOLUME))
PATCH14 = PLANE._replace(strides=((3.5, 3.5), (14.0, 14.0)), multiple=(14, 14))


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
    return head, *batch(spec)
