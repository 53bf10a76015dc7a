"""Data sets of objects as their files say them, for tests."""

from __future__ import annotations

import numpy as np
import tifffile
from PIL import Image

from microtome.data.image_dataset import ImageDataset
from microtome.data.manifest import parse_manifest


def dataset(found, split="test"):
    return ImageDataset(found.splits[split], found.classes, found.reading)


def truths(description, root):
    data = dataset(parse_manifest(description, root))
    return {sample.meta["name"]: sample.truth for sample in map(data.__getitem__, range(len(data)))}


def dense(truth):
    return truth.instances.masks.dense().tensor.numpy()


def saved(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    if values.dtype in (np.uint8, np.uint16) or values.ndim == 3:
        Image.fromarray(values).save(path)
    else:
        tifffile.imwrite(path, values, photometric="minisblack")
    return path
