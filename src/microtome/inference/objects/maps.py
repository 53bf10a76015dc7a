"""Label maps of objects as files: TIFF for Fiji and QuPath, OME-Zarr for napari."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ...data.stores import create_labels, open_labels
from ...files import whole
from ...geometry import Region, Shape, Spacing, window
from .found import FoundObjects, NumberMap, blocks

IMAGEJ = 1 << 31  # bytes: ImageJ's own format ends at 4 GB, and holds at most 16 bits of integers
TILE = 512  # pixels, of a picture that is too large for one piece


def write_tiff(path: Path, found: FoundObjects) -> None:
    """Write the ids as a TIFF with its scale: 16 bits where they suffice, else 32.

    Small 16-bit maps are ImageJ stacks; others are OME-TIFF, in tiles, made with one row of tiles
    in memory. Several maps, of objects that overlap, become channels.

    Raises ValueError for ids that take more than 32 bits.
    """
    dtype = _fitting(found, (np.uint16, np.uint32))
    shape = (len(found.maps), *found.shape)
    small = dtype == np.uint16 and prod(shape) * dtype.itemsize < IMAGEJ
    with whole(path) as part:
        (_write_imagej if small else _write_ome)(part, found, dtype)


def read_tiff(path: Path) -> npt.NDArray[Any]:
    """Read back what `write_tiff` wrote: [K, *S] ids."""
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        values, axes = series.asarray(), series.axes
    channel = axes.find("C")
    return values[None] if channel < 0 else np.moveaxis(values, channel, 0)


def write_zarr(path: Path, found: FoundObjects) -> None:
    """Write the ids as an OME-Zarr label image with a pyramid; further maps beside it.

    The second map of objects that overlap goes into `NAME.layer2.ome.zarr`. The first is written
    last, so that all are complete when it is. What a killed run left there is replaced.
    """
    dtype = _fitting(found, (np.uint32, np.uint64))
    ids = _lookup(found, dtype)
    for layer, numbers in reversed(list(enumerate(found.maps))):
        own = layer_path(path, layer)
        if own.exists():
            shutil.rmtree(own)
        store = create_labels(own, found.shape, spacing=found.spacing, dtype=dtype)
        for region in blocks(_Chunked(numbers, store.chunk)):
            store.write(region, ids[numbers.read(region)])
        store.finish()


def read_zarr(path: Path) -> npt.NDArray[Any]:
    """Read back what `write_zarr` wrote: [K, *S] ids.

    Raises ImageReadError where it was not finished.
    """
    layers: list[npt.NDArray[Any]] = []
    while (own := layer_path(path, len(layers))).exists():
        stored = open_labels(own)
        layers.append(stored.read(window(stored.shape)))
    return np.stack(layers)


def layer_path(path: Path, layer: int) -> Path:
    """Where a map stands, counted from 0: `NAME.ome.zarr`, `NAME.layer2.ome.zarr` …"""
    stem, dot, rest = path.name.rpartition(".ome.zarr")
    return path.with_name(f"{stem}.layer{layer + 1}{dot}{rest}") if layer else path


class _Chunked:
    """A map that is read in the chunks of the store it goes to."""

    def __init__(self, numbers: NumberMap, chunk: Shape) -> None:
        self.shape, self.chunk, self.read = numbers.shape, chunk, numbers.read


def _fitting(found: FoundObjects, types: tuple[type, ...]) -> np.dtype[Any]:
    largest = int(found.ids.max(initial=0))
    for one in types:
        if largest <= np.iinfo(one).max:
            return np.dtype(one)
    bits = 8 * np.dtype(types[-1]).itemsize
    raise ValueError(f"the id {largest} takes more than {bits} bits: choose other formats")


def _lookup(found: FoundObjects, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return np.concatenate([[0], found.ids]).astype(dtype)


def _write_imagej(path: Path, found: FoundObjects, dtype: np.dtype[Any]) -> None:
    ids = _lookup(found, dtype)
    values = np.stack([ids[numbers.read(window(found.shape))] for numbers in found.maps], -3)
    axes = "ZYX"[-len(found.shape) :]
    layered = f"{axes[:-2]}C{axes[-2:]}"  # ImageJ's order: slices, then channels
    metadata: dict[str, Any] = {"axes": layered if len(found.maps) > 1 else axes}
    if len(found.maps) == 1:
        values = values.reshape(found.shape)
    if found.spacing is not None:
        metadata |= {"unit": "um"} | ({"spacing": found.spacing[0]} if len(axes) > 2 else {})
    tifffile.imwrite(
        path, values, imagej=True, compression="zlib", metadata=metadata,
        resolution=_resolution(found.spacing, 1.0),
    )  # fmt: skip


def _write_ome(path: Path, found: FoundObjects, dtype: np.dtype[Any]) -> None:
    shape = (len(found.maps), *found.shape)
    metadata: dict[str, Any] = {"axes": "CZYX"[0] + "ZYX"[-len(found.shape) :]}
    for axis, step in zip("ZYX"[-len(found.shape) :], found.spacing or (), strict=False):
        metadata |= {f"PhysicalSize{axis}": step, f"PhysicalSize{axis}Unit": "µm"}
    tifffile.imwrite(
        path, _tiles(found, dtype), shape=shape, dtype=dtype, ome=True, bigtiff=True,
        compression="zlib", tile=(TILE, TILE), metadata=metadata, photometric="minisblack",
        resolution=_resolution(found.spacing, 1e4), resolutionunit="CENTIMETER",
    )  # fmt: skip


def _resolution(spacing: Spacing | None, micrometres: float) -> tuple[float, float] | None:
    """Pixels along x and y in so many micrometres."""
    return None if spacing is None else (micrometres / spacing[-1], micrometres / spacing[-2])


def _tiles(found: FoundObjects, dtype: np.dtype[Any]) -> Iterator[npt.NDArray[Any]]:
    """Tiles of all planes in the order of a TIFF, padded at the far ends."""
    ids, (height, width) = _lookup(found, dtype), found.shape[-2:]
    for numbers in found.maps:
        for plane in np.ndindex(*found.shape[:-2]):
            before: Region = tuple(slice(i, i + 1) for i in plane)
            for top in range(0, height, TILE):
                rows = slice(top, min(top + TILE, height))
                band = ids[numbers.read((*before, rows, slice(0, width)))]
                band = band.reshape(-1, width)
                for left in range(0, width, TILE):
                    tile = np.zeros((TILE, TILE), dtype)
                    piece = band[:, left : left + TILE]
                    tile[: piece.shape[0], : piece.shape[1]] = piece
                    yield tile
