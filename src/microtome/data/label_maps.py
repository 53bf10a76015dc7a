"""Masks and label maps that are as large as their image, read as wholes or by region."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..geometry import Shape, window
from .stores import ImageReadError, LabelSource, open_labels
from .stores.label_files import Encoding


def open_map(file: Path, image: Shape | None, encoding: Encoding = "index") -> LabelSource:
    """Open a mask or label map [*S] of any store; `image` is the shape it must have.

    Raises ImageReadError with the reason.
    """
    source = open_labels(file, encoding=encoding)
    if image is not None:
        check_shape(file, source.shape, image)
    return source


def read_map(
    file: Path, image: Shape | None, encoding: Encoding = "index"
) -> npt.NDArray[np.integer]:
    """Read all of a mask or label map [*S]; see `open_map`."""
    source = open_map(file, image, encoding)
    return source.read(window(source.shape))


def wrong_shape(shape: Shape, image: Shape) -> str | None:
    """What is wrong with the shape of a mask, or None."""
    if shape == image:
        return None
    reason = f"is {_times(shape)} pixels, but its image {_times(image)}"
    if shape[:-2] == image[:-2] and shape[-2:] == image[-2:][::-1]:
        reason += (
            "; it lies on its side: the image's EXIF orientation was applied, and the mask has "
            "none. Turn the mask, or strip the orientation from the image"
        )
    return reason


def check_shape(file: Path, shape: Shape, image: Shape) -> None:
    """Raise ImageReadError when a file has another shape than its image."""
    wrong = wrong_shape(shape, image)
    if wrong:
        raise ImageReadError(file, wrong)


def _times(shape: Shape) -> str:
    return " x ".join(map(str, shape))
