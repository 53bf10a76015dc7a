"""What tests of heads of masks share: classes, small pyramids, and a batch of maps of them."""

import math

import torch

from microtome.structures import Classes, ImageList, PyramidSpec

CLASSES = Classes(("background", "gland", "nucleus"))
PLANE = PyramidSpec((8, 16), ((4.0, 4.0), (8.0, 8.0)), (8, 8))
VOLUME = PyramidSpec((8, 16), ((1.0, 2.0, 2.0), (2.0, 4.0, 4.0)), (2, 4, 4))


def batch(spec):
    """Maps of two images that fill their canvas, and the images."""
    canvas = [8 * m for m in spec.multiple]
    images = ImageList.pad([torch.zeros(1, *canvas)] * 2, spec.multiple)
    maps = [
        torch.randn(2, c, *(int(n / s) for n, s in zip(canvas, strides, strict=True)))
        for c, strides in zip(spec.channels, spec.strides, strict=True)
    ]
    return tuple(maps), images


def losses_of_other_masks(head, prediction, targets):
    """Losses, and those of features that differ in the far half of the first axis."""
    half = prediction.features.shape[2] // 2
    other = prediction.features.detach().clone()
    other[:, :, half:] = 30 * torch.randn_like(other[:, :, half:])
    found = []
    for features in (prediction.features, other):
        torch.manual_seed(1)
        found.append(head.losses(prediction._replace(features=features), targets))
    return found


def other_padding(head, maps, images):
    """Images of half their first axis, their encoded maps, and those with other padding."""
    shapes = images.shapes.clone()
    shapes[:, 0] //= 2
    images = ImageList(images.tensor, shapes)
    pixels = head.pixels(maps, images)
    levels, features = [x.clone() for x in pixels.levels], pixels.features.clone()
    for x in (*levels, features):
        x[:, :, math.ceil(x.shape[2] / 2) :] = 7.0
    return images, pixels, pixels._replace(levels=levels, features=features)
