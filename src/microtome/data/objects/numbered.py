"""Objects as pixels: maps of numbers, connected regions, and a file for each object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from skimage.measure import label

from ...geometry import Shape
from ...structures import LabelLayers
from ..label_maps import read_map
from ..records import LabelsEncoding
from ..stores import ImageReadError
from ..stores.archives import files_below
from ..stores.image_files import SUFFIXES
from .parts import Part, part_of

Values = npt.NDArray[np.integer]


def numbered(file: Path, values: Values, encoding: LabelsEncoding) -> LabelLayers:
    """The objects of a map [*S] of a file: `index`, its values are their numbers; `components`,
    each connected region of one value is an object, neighbours across corners included.

    Raises ImageReadError for numbers that are too large.
    """
    if values.max(initial=0) > np.iinfo(np.int64).max:
        raise ImageReadError(file, f"holds the number {values.max()}; objects go up to 2^63 - 1")
    if encoding == "components":
        values = label(values, background=0, connectivity=values.ndim)
    return LabelLayers.from_ids(torch.from_numpy(values.astype(np.int64)))


def masks_in(folder: Path, shape: Shape) -> list[Part]:
    """One object for each mask file in a folder, numbered from 1 on in the order of their names.

    An empty folder is of an image without objects.

    Raises ImageReadError for a folder of other files, and for a file that cannot be read, has
    another shape, or more than one value beside 0.
    """
    found = (p for p in files_below(folder) if p.suffix.lower() in SUFFIXES)
    files = sorted(p for p in found if not p.name.startswith("."))
    if not files and any(files_below(folder)):
        raise ImageReadError(folder, f"holds no mask file ({', '.join(SUFFIXES)})")
    return [part_of(number, _mask(file, shape)) for number, file in enumerate(files, 1)]


def _mask(file: Path, shape: Shape) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    values = read_map(file, shape)
    found = np.unique(values)
    if (found > 0).sum() > 1:
        some = ", ".join(map(str, found[:6].tolist()))
        raise ImageReadError(
            file, f"holds the values {some} …; expected the mask of one object, 0 and one other"
        )
    return values > 0
