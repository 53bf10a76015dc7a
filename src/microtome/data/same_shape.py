"""Whether masks and label maps are as large as their image."""

from __future__ import annotations

from pathlib import Path

from ..geometry import Shape
from .stores import ImageReadError


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
