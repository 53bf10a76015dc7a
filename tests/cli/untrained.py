"""A model of objects that was not trained: what it finds is of no interest, but it finds some."""

from functools import partial

from microtome.backbones.unet import UNet
from microtome.heads.mask2former import Mask2Former
from microtome.models import Segmenter, Usage


def save_untrained(classes, folder):
    small = {"hidden": 16, "encoder_layers": 1, "decoder_layers": 1, "num_heads": 2}
    head = partial(
        Mask2Former, task="instance", num_queries=8, num_points=16, min_score=0.0, **small
    )
    backbone = UNet(net="BasicUNet", out_channels=8, options={"features": [8, 8, 8, 8, 8, 8]})
    segmenter = Segmenter(backbone, head, classes)
    segmenter.usage = Usage(tile=64)
    segmenter.save_pretrained(folder)
    return folder
