"""Drawn objects, as prediction holds them."""

import numpy as np
import torch

from microtome.inference.objects import FoundObjects
from microtome.structures import Classes, Instances, LabelLayers

CLASSES = Classes(("background", "round", "flat"), colours=((0, 0, 0), (200, 30, 30), (0, 0, 255)))


def drawn(shape):
    """Blobs with holes and single pixels, [*S] ids that are not 1…N."""
    random = np.random.default_rng(0)
    ids = np.zeros(shape, np.int64)
    for number in range(25):
        middle, radius = random.integers(0, shape), random.integers(0, 7)
        ids[tuple(slice(max(m - radius, 0), m + radius + 1) for m in middle)] = 7 * number + 3
        if number % 2:
            ids[tuple(slice(max(m - radius + 3, 0), max(m + radius - 2, 0)) for m in middle)] = 0
    return ids


def objects(shape, spacing=None, scores=True, ids=None):
    layers = LabelLayers.from_ids(torch.from_numpy(drawn(shape) if ids is None else ids))
    labels = 1 + torch.arange(len(layers)) % 2
    sure = torch.linspace(0.5, 1, len(layers)) if scores else None
    return Instances(labels, scores=sure, masks=layers)


def stored(instances, spacing=(0.5, 0.25, 0.2)):
    return FoundObjects.of(instances, spacing[-instances.masks.maps[0].ndim :])
