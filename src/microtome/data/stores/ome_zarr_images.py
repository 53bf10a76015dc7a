"""Images of OME-Zarr, written by region."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy.typing as npt

from .downsampling import strides_for
from .ome_zarr_creation import Plan, create_pyramid, shapes_of
from .ome_zarr_metadata import Version, channel_attributes
from .ome_zarr_pyramid import PyramidStore
from .selection import given_spacing


class ImageStore(PyramidStore):
    """An image [C, *S] that is being written, in raw values."""


def create_image(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    *,
    spacing: float | Sequence[float] | None,
    channels: Sequence[str] = ("grey",),
    dtype: npt.DTypeLike = "uint16",
    version: Version = "0.5",
    chunk: int | Sequence[int] | None = None,
) -> ImageStore:
    """Make an image to be written by region; regions have a channel axis first.

    Args:
        path: a new folder.
        shape: *S.
        spacing: micrometres per pixel, one or one per axis; None when unknown.
        channels: C names.
        dtype: of the raw values.
        version: of OME-Zarr.
        chunk: what stands in one file, in pixels per spatial axis: the unit of writing. Each
            channel has files of its own.

    Raises FileExistsError when something is there already.
    """
    shape = tuple(shape)
    steps = None if spacing is None else given_spacing(path, spacing, len(shape))
    strides = strides_for(shape, steps)
    plan = Plan(
        Path(path), Path(path).name.split(".")[0], version, "c" + "zyx"[-len(shape) :],
        shapes_of((len(channels), *shape), strides), steps, strides, "mean",
        channel_attributes(channels, dtype),
    )  # fmt: skip
    create_pyramid(plan, dtype, chunk)
    return ImageStore(path)
