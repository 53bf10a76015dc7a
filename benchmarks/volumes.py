"""Random crops of a sharded OME-Zarr: our region reads beside zarr-python's own.

Every crop lies somewhere else and neither side keeps decoded chunks (`memory` shows it); the
operating system's cache of files is left as it is, for both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from microtome.data.stores import create_labels, open_labels
from microtome.geometry import Region

from .harness import TINY, Case, peak_memory

SHAPE = (128, 256, 256) if TINY else (256, 512, 512)
CROP = (64, 128, 128)
TYPE = np.dtype("uint16")
CROPS = 4  # per sample


def cases() -> Iterator[Case]:
    path = made()
    yield Case(
        f"{CROPS} random crops {_times(CROP)} of {_times(SHAPE)} {TYPE}, shards",
        crops(path, "ours"),
        "zarr-python",
        crops(path, "peer"),
        lambda a, b: np.testing.assert_array_equal(a, b),
        work={"copy": float(2 * CROPS * np.prod(CROP) * TYPE.itemsize)},
    )


def memory() -> Iterator[dict[str, Any]]:
    """Bytes by which reading 32 crops one after the other raises the peak, beside the array's."""
    code = (
        "from benchmarks.volumes import *\none = crops({!r}, {!r}, 1)\n"
        "work = lambda: [one() for _ in range(32)] and None"
    )
    yield {
        "case": "32 crops",
        "ours": peak_memory(code.format(made(), "ours")),
        "zarr-python": peak_memory(code.format(made(), "peer")),
        "array": int(np.prod(SHAPE)) * TYPE.itemsize,
    }


def crops(path: str, who: str, count: int = CROPS) -> Callable[[], npt.NDArray[Any]]:
    """Reads the next crops of an endless row, the same for both; returns their sums."""
    chance = np.random.default_rng(0)
    labels = open_labels(path)
    array = zarr.open_array(f"{path}/0", mode="r")

    def work() -> npt.NDArray[Any]:
        sums = []
        for _ in range(count):
            region = _somewhere(chance)
            part = labels.read(region) if who == "ours" else np.asarray(array[region])
            sums.append(part[::7, ::7, ::7].sum())
        return np.array(sums)

    return work


@cache
def made() -> str:
    """Noise on blurred blobs, as a microscope's; shards of 128³ with chunks of 32³."""
    folder = _folder()
    store = create_labels(
        Path(folder.name) / "a.zarr", SHAPE, spacing=1, dtype=TYPE, chunk=(128, 128, 128)
    )
    chance = np.random.default_rng(0)
    for z, y, x in np.ndindex(*(s // 128 for s in SHAPE)):
        region = tuple(slice(128 * n, 128 * n + 128) for n in (z, y, x))
        store.write(region, _block(chance))
    store.finish()
    return str(store.path)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def _block(chance: np.random.Generator) -> npt.NDArray[np.uint16]:
    coarse = chance.gamma(1.0, 500, (8, 8, 8))
    smooth = np.kron(coarse, np.ones((16, 16, 16)))
    return (smooth + chance.normal(100, 8, smooth.shape)).clip(0, 65535).astype(np.uint16)


def _somewhere(chance: np.random.Generator) -> Region:
    starts = [int(chance.integers(0, s - c + 1)) for s, c in zip(SHAPE, CROP, strict=True)]
    return tuple(slice(start, start + c) for start, c in zip(starts, CROP, strict=True))


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
