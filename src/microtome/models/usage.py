"""How a model wants its images: what `predict` does unless told otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..data.stores import ArraySource, Source, open_source

Levels = tuple[float, float] | tuple[tuple[float, float], ...]
Image = str | Path | Tensor | npt.NDArray[Any] | Source


class Usage(NamedTuple):
    """Set by training, saved with the model.

    Attributes:
        channels: how files become channels: `rgb`, `grey` or `as_is`.
        levels: the raw values of black and white in files, where they had to be stated.
        mode: `sliding` tiles, or `resize` to one tile and back.
        tile: pixels per axis of a tile.
        overlap: fraction of a tile that neighbouring tiles share.
        spacing: micrometres per pixel and axis of the training images, where known.
    """

    channels: Literal["rgb", "grey", "as_is"] = "rgb"
    levels: Levels | None = None
    mode: Literal["sliding", "resize"] = "sliding"
    tile: int | Sequence[int] = 512
    overlap: float = 0.5
    spacing: Sequence[float] | None = None

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Usage:
        """Make one from plain data, leaving out what this version does not know."""
        return cls(**{k: v for k, v in facts.items() if k in cls._fields})

    @classmethod
    def usual(cls, in_channels: int) -> Usage:
        """What a backbone of so many channels suggests, until training says more."""
        return cls.of({"channels": {1: "grey", 3: "rgb"}.get(in_channels, "as_is")})

    def open(self, image: Image, spatial_dims: int, spacing: Sequence[float] | None) -> Source:
        """Make a source of a file or an array.

        Args:
            image: a path; a tensor [C, *S]; a NumPy array [*S] or [*S, C]; or a source. Arrays hold
                8-bit integers, or floats with 0 for black and 1 for white.
            spatial_dims: D, which tells a grey NumPy array from one with channels.
            spacing: micrometres per pixel and axis; for a file it wins over what the file says.

        Raises ValueError for arrays of other types, shapes and ranges.
        """
        if isinstance(image, Source):
            return image
        if isinstance(image, str | Path):
            return open_source(image, spacing=spacing, levels=self.levels, channels=self.channels)
        pixels = image.detach().cpu().numpy() if isinstance(image, Tensor) else image
        if not isinstance(image, Tensor) and pixels.ndim == spatial_dims:
            pixels = pixels[..., None]
        if pixels.ndim != spatial_dims + 1:
            raise ValueError(_not_an_image(pixels, spatial_dims))
        if not isinstance(image, Tensor):
            pixels = np.moveaxis(pixels, -1, 0)
        steps = None if spacing is None else tuple(float(s) for s in spacing)
        return ArraySource(_unit_range(pixels), name="array", spacing=steps)


def _unit_range(pixels: npt.NDArray[Any]) -> npt.NDArray[np.floating]:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / 255
    if pixels.dtype.kind != "f":
        raise ValueError(
            f"expected 8-bit integers or floats in 0…1, got {pixels.dtype}: only you know what "
            "white is; subtract black and divide by (white - black)"
        )
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)
    if not (low >= 0 and high <= 1):
        raise ValueError(f"expected floats in 0 (black) … 1 (white), got {low:g} … {high:g}")
    return pixels


def _not_an_image(pixels: npt.NDArray[Any], spatial_dims: int) -> str:
    return (
        f"the model segments images of {spatial_dims} axes: expected a tensor [C, *S], or a NumPy "
        f"array [*S] or [*S, C], got {list(pixels.shape)}"
    )
