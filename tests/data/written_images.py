"""Small images and how tests write them."""

from __future__ import annotations

import numpy as np
import tifffile
from PIL import Image

from microtome.data.stores import open_source
from microtome.geometry import window

RAMP = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
COLOUR = np.stack([RAMP, 255 - RAMP, RAMP // 2], -1)
STACK = np.random.default_rng(0).integers(0, 4000, (5, 20, 30), dtype=np.uint16)


def pixels(path, **options):
    source = open_source(path, **options)
    return source.read(window(source.info.shape))


def write_tiff(path, values, **options):
    tifffile.imwrite(path, values, **{"photometric": "minisblack"} | options)


def saved(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path
