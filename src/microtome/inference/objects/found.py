"""Objects of one image, wherever their maps are: what every output of objects is made from.

N objects, D axes, *S the spatial shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...geometry import Region, Shape, Spacing
from ...structures import Instances, LabelLayers
from ..preview import Preview

Numbers = npt.NDArray[Any]  # [*S] integers: 0 is background, n + 1 the n-th object
BLOCK = 1 << 24  # pixels of a map in memory at a time
HELD = 64  # pixels per axis: the chunk of what is in memory anyway


class NumberMap(Protocol):
    """What is needed of a map [*S]; a `LabelSource` and a `LabelStore` have it."""

    @property
    def shape(self) -> Shape:
        """*S."""
        ...

    @property
    def chunk(self) -> Shape:
        """What is read at once."""
        ...

    def read(self, region: Region) -> Numbers:
        """The values of a region."""
        ...


class _Held:
    """A map in memory."""

    def __init__(self, values: Tensor) -> None:
        self._values = values.cpu().numpy()
        self.shape: Shape = self._values.shape
        self.chunk: Shape = tuple(min(s, HELD) for s in self.shape)

    def read(self, region: Region) -> Numbers:
        return np.asarray(self._values[region])


@dataclass(frozen=True)
class FoundObjects:
    """N objects of one image.

    Attributes:
        maps: one or more of shape [*S], holding 1…N; objects that overlap lie in different ones.
        ids: [N] what the objects are called in every file.
        labels: [N] class of each.
        scores: [N] confidence, or None.
        spacing: micrometres per pixel and axis, None when unknown.
    """

    maps: tuple[NumberMap, ...]
    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64] | None = None
    spacing: Spacing | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def shape(self) -> Shape:
        """*S."""
        return self.maps[0].shape

    @classmethod
    def of(cls, instances: Instances, spacing: Spacing | None = None) -> FoundObjects:
        """Take the objects of a result in memory.

        Raises ValueError when they have no masks.
        """
        if instances.masks is None:
            raise ValueError("the objects have no masks to write")
        return cls(
            tuple(_Held(layer) for layer in instances.masks.maps),
            instances.masks.ids.cpu().numpy().astype(np.int64),
            instances.labels.cpu().numpy().astype(np.int64),
            None if instances.scores is None else instances.scores.cpu().numpy().astype(np.float64),
            spacing,
        )

    @classmethod
    def stored(
        cls,
        numbers: NumberMap,
        labels: npt.ArrayLike,
        scores: npt.ArrayLike | None = None,
        spacing: Spacing | None = None,
    ) -> FoundObjects:
        """Take objects from a store of any size that holds 1…N; these are their ids, too."""
        kinds = np.asarray(labels, np.int64)
        sure = None if scores is None else np.asarray(scores, np.float64)
        return cls((numbers,), np.arange(1, len(kinds) + 1), kinds, sure, spacing)


def blocks(numbers: NumberMap) -> Iterator[Region]:
    """Regions that cover a map, each of whole chunks and at most 16 million pixels.

    A chunk that is larger than that is a block.
    """
    shape = numbers.shape
    size = [min(c, s) for c, s in zip(numbers.chunk, shape, strict=True)]
    for axis in reversed(range(len(shape))):
        while size[axis] < shape[axis] and 2 * prod(size) <= BLOCK:
            size[axis] *= 2
    starts = [range(0, s, step) for s, step in zip(shape, size, strict=True)]
    for corner in product(*starts):
        yield tuple(
            slice(c, min(c + step, s)) for c, step, s in zip(corner, size, shape, strict=True)
        )


def sampled(found: FoundObjects, small: Preview) -> Instances:
    """The objects of a small copy, for pictures; all stay, also those without a pixel in it."""
    maps = np.stack([small.thinned(numbers) for numbers in found.maps])
    masks = LabelLayers(torch.from_numpy(maps), torch.from_numpy(found.ids))
    return Instances(torch.from_numpy(found.labels), masks=masks)
