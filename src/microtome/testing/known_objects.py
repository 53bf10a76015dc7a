"""Volumes of any size whose objects are known everywhere, and a segmenter that reads them.

With it, whatever differs from the truth comes from how tiles were put together.

D axes, *S the volume's shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..data.stores import ImageReadError, Source, SourceInfo
from ..geometry import Region, Shape, extent
from ..inference.tiles import shared, within
from ..structures import DataSample, Instances, Intensity, LabelLayers, Segmentation

Ids = npt.NDArray[np.int64]
EACH = 4  # objects of a cell
KINDS = 3  # classes of objects; 0 among them


@dataclass(frozen=True)
class KnownObjects:
    """A shell with a grain inside, and a rod that touches a plate, in every cell of a volume.

    Attributes:
        shape: *S.
        cell: pixels per axis of a cell, which no object exceeds; 16 or more.
    """

    shape: Shape
    cell: int = 32

    @cached_property
    def unit(self) -> Ids:
        """The objects 1…4 of one cell."""
        dims, cell = len(self.shape), self.cell
        at = np.indices((cell,) * dims)
        radius = np.sqrt(((at - cell // 2) ** 2).sum(0))
        unit = np.zeros((cell,) * dims, np.int64)
        unit[(radius >= cell / 8) & (radius < cell / 3.5)] = 1  # holed
        unit[radius < cell / 12] = 2
        unit[(at[:-1] < 4).all(0) & (at[-1] < cell - 2)] = 3  # elongated
        unit[(at[0] >= 4) & (at[0] < 7) & (at[-1] > 2) & (at[-1] < cell - 5) & (unit == 0)] = 4
        return unit

    @cached_property
    def _filled(self) -> npt.NDArray[np.bool_]:
        return self.unit > 0

    def read(self, region: Region) -> Ids:
        """[*region] the true ids; made cell by cell, so it takes no more memory than they do."""
        out = np.empty(extent(region), np.int64)
        counts = tuple(-(-size // self.cell) for size in self.shape)
        for place, inside, there in pieces(region, (self.cell,) * len(region)):
            before = int(np.ravel_multi_index(place, counts)) * EACH
            np.multiply(self._filled[inside], before, out=out[there])
            out[there] += self.unit[inside]
        return out


class BlankImage(Source):
    """An image of zeros, since the truth is known otherwise.

    Args:
        shape: *S.
        damaged: a pixel; regions that hold it cannot be read.
    """

    def __init__(self, shape: Shape, damaged: Shape | None = None) -> None:
        self.info = SourceInfo("blank", tuple(shape), ("grey",), None, "float32")
        self.damaged = damaged

    @property
    def intensity(self) -> Intensity:
        """Of zeros, in unit range."""
        return Intensity(((0.0, 1.0),), True, (0.0,), (1.0,), (0.0,), (1.0,))

    def read(self, region: Region) -> npt.NDArray[np.float32]:
        """[1, *region]; raises ImageReadError where it is damaged."""
        here = self.damaged
        if here and all(s.start <= p < s.stop for s, p in zip(region, here, strict=True)):
            raise ImageReadError("blank", "damaged")
        return np.zeros((1, *extent(region)), np.float32)


@dataclass
class TruthReader:
    """A model that gives each object of a tile a random local id.

    Attributes:
        truth: what it reads.
        seed: of the local ids.
        blind: pixels along a tile's borders in which it sees nothing, where the image goes on: as
            networks see worst there.
    """

    truth: KnownObjects
    seed: int = 0
    blind: int = 0

    def predict_samples(self, samples: list[DataSample]) -> list[Segmentation]:
        """The objects of tiles, with `(id % 7 + 1) / 8` as score and `id % 3` as class."""
        return [self._seen(sample) for sample in samples]

    def _seen(self, sample: DataSample) -> Segmentation:
        assert sample.placement is not None
        start = [int(o) for o in sample.placement.offset]
        region = tuple(slice(a, a + n) for a, n in zip(start, sample.shape, strict=True))
        seen = self.truth.read(region)
        self._blind(seen, region)
        ids = np.flatnonzero(np.bincount(seen.ravel())[1:]) + 1
        ids = np.random.default_rng([self.seed, *start]).permutation(ids)
        local = np.zeros(int(ids.max(initial=0)) + 1, np.int32)
        local[ids] = np.arange(1, len(ids) + 1)
        maps = local[seen]
        return Segmentation(instances=instances_of(maps, ids))

    def _blind(self, seen: Ids, region: Region) -> None:
        for axis, (part, size) in enumerate(zip(region, self.truth.shape, strict=True)):
            lines = np.moveaxis(seen, axis, 0)
            if part.start > 0:
                lines[: self.blind] = 0
            if part.stop < size:
                lines[len(lines) - self.blind :] = 0


def instances_of(maps: npt.NDArray[np.int32], ids: Ids) -> Instances:
    """Objects 1…N of a map, whose true ids say class and score."""
    labels = torch.from_numpy(ids % KINDS)
    scores = torch.from_numpy(((ids % 7 + 1) / 8).astype(np.float32))
    layers = LabelLayers(torch.from_numpy(maps)[None], torch.from_numpy(ids))
    return Instances(labels, scores=scores, masks=layers)


def pieces(region: Region, size: Shape) -> Iterator[tuple[Shape, Region, Region]]:
    """The cells of a size that a region touches: their place, and what of them lies in it.

    As a region of the cell, and as one of the region.
    """
    spans = (range(p.start // s, (p.stop - 1) // s + 1) for p, s in zip(region, size, strict=True))
    for place in product(*spans):
        cell = tuple(slice(n * s, (n + 1) * s) for n, s in zip(place, size, strict=True))
        both = shared(cell, region)
        yield place, within(both, cell), within(both, region)


def in_raster_order(ids: npt.NDArray[np.integer[Any]]) -> Ids:
    """[*S] ids renumbered 1…G in the order of their first pixels, as stitching numbers them."""
    values, first = np.unique(ids, return_index=True)
    values, first = values[values > 0], first[values > 0]
    table = np.zeros(int(values.max(initial=0)) + 1, np.int64)
    table[values[np.argsort(first)]] = np.arange(1, len(values) + 1)
    return np.asarray(table[ids])


def panoptic_quality(
    found: npt.NDArray[np.integer[Any]], truth: npt.NDArray[np.integer[Any]]
) -> float:
    """PQ of two maps of ids whatever their classes, in the lines of its definition."""
    width = int(truth.max(initial=0)) + 1
    pairs, counts = np.unique(found.astype(np.int64) * width + truth, return_counts=True)
    a, b = pairs // width, pairs % width
    size_a, size_b = np.bincount(a, counts), np.bincount(b, counts)
    real = (a > 0) & (b > 0)
    iou = counts / (size_a[a] + size_b[b] - counts)
    objects = np.count_nonzero(size_a[1:]) + np.count_nonzero(size_b[1:])
    return float(iou[real & (iou > 0.5)].sum() / (objects / 2)) if objects else 1.0
