"""What tests of Mask DINO share: a small head, objects side by side, a prediction that is sure."""

import torch
from mask_heads import CLASSES, batch
from torch.nn import functional as F

from microtome.heads.maskdino import MaskDINO
from microtome.heads.maskdino_denoising import Known
from microtome.heads.maskdino_prediction import Answers, BoxMaskPrediction
from microtome.structures import Instances, LabelLayers, Segmentation

SMALL = {"num_queries": 8, "hidden": 32, "encoder_layers": 1, "decoder_layers": 2, "num_heads": 4}
SMALL |= {"num_denoising": 12, "num_points": 128}


def setting(spec, seed=0, **options):
    """A head, one batch of maps, and its images."""
    torch.manual_seed(seed)
    head = MaskDINO(spec, CLASSES, **{**SMALL, **options})
    return head, *batch(spec)


def bars(canvas, count, ignored=False):
    """`count` objects side by side; the far half of the first axis ignored or not."""
    ids = (torch.arange(canvas[-1]) * count // canvas[-1] + 1).expand(*canvas).clone()
    if not count:
        ids = torch.zeros(canvas, dtype=torch.long)
    classes = torch.zeros_like(ids)
    if ignored:
        classes[canvas[0] // 2 :] = CLASSES.ignore_index
    labels = torch.arange(count) % 3
    return Segmentation(classes, Instances(labels, masks=LabelLayers.from_ids(ids)))


def certain(masks, labels, images):
    """The prediction of masks [N, *S] and their classes, one query each, sure of both."""
    count, number = len(labels), len(images)
    classes = (100 * F.one_hot(labels, 3).float() - 50).expand(1, number, -1, -1)
    embeddings = torch.eye(count).expand(1, number, -1, -1)
    features = (100 * masks.float() - 50).expand(number, *masks.shape)
    boxes = torch.rand(1, number, count, 2 * (masks.ndim - 1))
    found = Answers(classes, embeddings, boxes)
    nobody = Answers(*(part[:, :, :0] for part in found))
    return BoxMaskPrediction(found, found, nobody, Known.nothing(boxes[0]), features, images.shapes)
