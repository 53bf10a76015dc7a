"""Empty OME-Zarr pyramids: their group, its attributes, and arrays without chunks.

At creation the group says that it is not complete; see `ome_zarr_pyramid`. Chunks carry a checksum:
version 0.5 has zarr's crc32c after compression, 0.4, which has no such codec that all readers know,
the one inside zstd's own frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numcodecs
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from ...geometry import Shape, Spacing, per_axis, round_up
from .downsampling import Reduce, coarser
from .ome_zarr import MARKER
from .ome_zarr_metadata import VERSIONS, Version, attributes, pyramid

_FILE = {"0.4": 2, "0.5": 4}  # sides of one file, in chunks: without shards files stay small


class Plan(NamedTuple):
    """What a pyramid is to be.

    Attributes:
        path: of its group.
        name: of the image.
        version: of OME-Zarr.
        axes: letters, spatial ones last.
        shapes: of all levels, finest first.
        spacing: micrometres per pixel and spatial axis, or None.
        strides: of each coarser level over the one before, per spatial axis.
        reduce: how pixels become one pixel of the next level.
        extra: OME attributes besides the pyramid.
    """

    path: Path
    name: str
    version: Version
    axes: str
    shapes: tuple[Shape, ...]
    spacing: Spacing | None
    strides: tuple[Shape, ...]
    reduce: Reduce
    extra: dict[str, Any]


def create_pyramid(plan: Plan, dtype: npt.DTypeLike, chunk: int | Sequence[int] | None) -> None:
    """Make the group and its empty arrays.

    Raises FileExistsError when something is there already, ValueError for what cannot be.
    """
    if plan.version not in VERSIONS:
        raise ValueError(f"version: expected one of {', '.join(VERSIONS)}, got {plan.version!r}")
    if plan.path.exists():
        raise FileExistsError(f"{plan.path} is there already; remove it or choose another name")
    spatial_dims = sum(a in "zyx" for a in plan.axes)
    described = pyramid(plan.name, plan.version, plan.axes, plan.spacing, plan.strides)
    described["type"] = plan.reduce
    marker = {"complete": False, "reduce": plan.reduce, "strides": plan.strides}
    group = zarr.create_group(
        plan.path,
        zarr_format=2 if plan.version == "0.4" else 3,
        attributes={
            **attributes(plan.version, {"multiscales": [described], **plan.extra}),
            MARKER: marker,
        },
    )
    for level, shape in enumerate(plan.shapes):
        inner, file = _chunk_and_file(shape[-spatial_dims:], chunk, plan.version)
        ones = (1,) * (len(shape) - spatial_dims)
        _create_array(group, level, shape, dtype, ((*ones, *inner), (*ones, *file)), plan)


def shapes_of(shape: Shape, strides: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shapes of all levels, finest first; leading axes stay as they are."""
    shapes = [shape]
    for spatial in strides:
        last = shapes[-1]
        split = len(last) - len(spatial)
        shapes.append((*last[:split], *coarser(last[split:], spatial)))
    return tuple(shapes)


def _create_array(
    group: zarr.Group, level: int, shape: Shape, dtype: Any, sizes: tuple[Shape, Shape], plan: Plan
) -> None:
    inner, file = sizes
    if plan.version == "0.4":
        options: dict[str, Any] = {
            "chunks": file,
            "compressors": numcodecs.Zstd(level=3, checksum=True),
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
        }
    else:
        options = {
            "chunks": inner,
            "shards": file,
            "compressors": [ZstdCodec(level=3), Crc32cCodec()],
            "dimension_names": list(plan.axes),
        }
    group.create_array(str(level), shape=shape, dtype=np.dtype(dtype), fill_value=0, **options)


def _chunk_and_file(
    shape: Shape, given: int | Sequence[int] | None, version: Version
) -> tuple[Shape, Shape]:
    """What is compressed together (about 2^17 values), and what stands in one file."""
    side = 2 ** (17 // len(shape))
    wanted = per_axis(_FILE[version] * side if given is None else given, len(shape))
    inner = tuple(_divisor(w, side) for w in wanted)
    whole = round_up(shape, inner)
    return inner, tuple(min(w, n) for w, n in zip(wanted, whole, strict=True))


def _divisor(size: int, side: int) -> int:
    """The largest divisor of `size` from `side` down to its half, else `size` itself."""
    return next((d for d in range(min(size, side), side // 2, -1) if size % d == 0), size)
