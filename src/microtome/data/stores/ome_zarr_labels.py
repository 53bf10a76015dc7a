"""Label images of OME-Zarr: written by region, read by region."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from ...geometry import Shape
from .downsampling import strides_for
from .ome_zarr import label_names, multiscale, ome_attributes, scale_of
from .ome_zarr_creation import Plan, create_pyramid, shapes_of
from .ome_zarr_metadata import Version, attributes
from .ome_zarr_pyramid import PyramidStore
from .selection import given_spacing
from .zarr_arrays import is_zarr


class LabelStore(PyramidStore):
    """A label image that is being written: 0 is background, other numbers are objects."""


def create_labels(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    *,
    spacing: float | Sequence[float] | None,
    dtype: npt.DTypeLike = "uint32",
    name: str = "labels",
    version: Version = "0.5",
    chunk: int | Sequence[int] | None = None,
) -> LabelStore:
    """Make a label image to be written by region.

    Where `path` is an OME-Zarr image, the labels go into its `labels/NAME`, with the image's
    levels, and are listed there; else `path` itself becomes the label image.

    Args:
        path: folder of an image, or a new one.
        shape: *S.
        spacing: micrometres per pixel, one or one per axis; None when unknown.
        dtype: unsigned or signed integers of 8 to 64 bits.
        name: of the labels.
        version: of OME-Zarr; that of the image, where there is one.
        chunk: what stands in one file, in pixels: the unit of writing.

    Raises FileExistsError when they are there already; ValueError when shape or version are not the
    image's, or the type is no integer.
    """
    if np.dtype(dtype).kind not in "ui":
        raise ValueError(f"labels are integers, got {np.dtype(dtype)}")
    shape = tuple(shape)
    steps = None if spacing is None else given_spacing(path, spacing, len(shape))
    place, extra = Path(path), {"image-label": {"version": version}}
    image = _image(place)
    if image is None:
        strides = strides_for(shape, steps)
        shapes = shapes_of(shape, strides)
    else:
        shapes, strides = _levels(image, shape, version)
        place = place / "labels" / name
        extra["image-label"]["source"] = {"image": "../../"}  # type: ignore[assignment]
    axes = "zyx"[-len(shape) :]
    plan = Plan(place, name, version, axes, shapes, steps, strides, "nearest", extra)
    create_pyramid(plan, dtype, chunk)
    if image is not None:
        _list(image, name, version)
    return LabelStore(place)


def _image(place: Path) -> zarr.Group | None:
    """The image that labels are to be added to."""
    if not (place.is_dir() and is_zarr(place)):
        return None
    group = zarr.open_group(place, mode="r+", use_consolidated=False)
    is_image = multiscale(group) is not None and "image-label" not in ome_attributes(group)
    return group if is_image else None


def _levels(
    image: zarr.Group, shape: Shape, version: Version
) -> tuple[tuple[Shape, ...], tuple[Shape, ...]]:
    """Shapes and strides of an image's levels, spatial axes only."""
    described: Any = multiscale(image)
    found = ome_attributes(image).get("version") or described.get("version")
    if found != version:
        raise ValueError(f"{image.store_path} is OME-Zarr {found}; ask for version={found!r}")
    dims = len(shape)
    shapes, scales = [], []
    for level, dataset in enumerate(described["datasets"]):
        array: Any = image[dataset["path"]]
        shapes.append(tuple(array.shape[-dims:]))
        scales.append(scale_of(described, level) or [1.0] * dims)
    if shapes[0] != shape:
        raise ValueError(f"labels of {list(shape)} do not fit the image of {list(shapes[0])}")
    strides = [
        tuple(max(1, round(b / a)) for a, b in zip(fine[-dims:], coarse[-dims:], strict=True))
        for fine, coarse in pairwise(scales)
    ]
    return tuple(shapes), tuple(strides)


def _list(image: zarr.Group, name: str, version: Version) -> None:
    names = sorted({*label_names(image), name})
    group = image.require_group("labels")
    group.attrs.update(attributes(version, {"labels": names}))
