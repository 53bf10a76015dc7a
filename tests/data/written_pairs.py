"""Images with masks as small files."""

from __future__ import annotations

import numpy as np
import tifffile
from PIL import Image

from microtome.data.records import Record
from microtome.structures import Classes

TWO = Classes(("rest", "cell"))
THREE = Classes(("rest", "cell", "nucleus"))
HALF = np.zeros((20, 30), np.uint8)
HALF[:, 15:] = 1


def picture(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if array.ndim == 3:
        tifffile.imwrite(path, array, photometric="minisblack", metadata={"axes": "ZYX"})
    else:
        Image.fromarray(array).save(path)
    return path


def pair(root, name, mask=HALF, image=None, **more):
    if image is None:  # no two alike
        image = np.full(mask.shape, 50 + sum(map(ord, name)) % 100, np.uint8)
    files = picture(root / f"{name}.png", image), picture(root / f"{name}_m.png", mask)
    return Record(*files, **more)
