"""Operators on label maps against scikit-image, NumPy and torchvision."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torchvision
from skimage.metrics import contingency_table
from torch import Tensor

from microtome.ops.mask_overlap import mask_overlap
from microtome.ops.masks_to_boxes import masks_to_boxes

from .harness import Case


def cases() -> Iterator[Case]:
    yield _overlap("64x192x192, 400 objects", (64, 192, 192), 400, 9, _contingency, "scikit-image")
    yield _overlap("256^3, 2000 objects", (256, 256, 256), 2000, 12, _bincount, "numpy.bincount")
    yield _overlap_of_noise()
    yield _boxes("512x512, 100 objects", torch.from_numpy(_balls((512, 512), 100, 15)), 100)
    yield _boxes("512x512, a single object", torch.from_numpy(_balls((512, 512), 1, 15)), 1)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(21, (512, 512), generator=generator)
    yield _boxes("512x512, noise of 20 objects", noise, 20)


def _boxes(name: str, labels: Tensor, count: int) -> Case:
    """The peer is given a mask per object, ready made."""
    masks = torch.stack([labels == number for number in range(1, count + 1)])

    def check(ours: Tensor, theirs: Tensor) -> None:
        x0, y0, x1, y1 = theirs.long().T  # the last pixel included
        assert ours.equal(torch.stack([y0, x0, y1 + 1, x1 + 1], 1))

    return Case(
        f"masks_to_boxes: {name}",
        lambda: masks_to_boxes(labels[None], count),
        "torchvision",
        lambda: torchvision.ops.masks_to_boxes(masks),
        check,
        {"copy": labels.nbytes},
    )


def _balls(shape: tuple[int, ...], count: int, radius: int) -> np.ndarray:
    random = np.random.default_rng(0)
    labels = np.zeros(shape, np.int64)
    axes = np.ogrid[tuple(slice(-radius, radius + 1) for _ in shape)]
    ball = sum(x * x for x in axes) <= radius * radius
    for number in range(1, count + 1):
        centre = [random.integers(radius, s - radius) for s in shape]
        labels[tuple(slice(c - radius, c + radius + 1) for c in centre)][ball] = number
    return labels


Table = tuple[Tensor, Tensor, Tensor]


def _contingency(a: Tensor, b: Tensor) -> Table:
    table = contingency_table(a.numpy(), b.numpy()).tocoo()
    return tuple(torch.from_numpy(x).long() for x in (table.row, table.col, table.data))  # type: ignore[return-value]


def _bincount(a: Tensor, b: Tensor) -> Table:
    x, y = a.numpy().ravel(), b.numpy().ravel()
    width = int(y.max()) + 1
    counts = np.bincount(x * width + y)
    pairs = counts.nonzero()[0]
    return tuple(torch.from_numpy(x) for x in (pairs // width, pairs % width, counts[pairs]))  # type: ignore[return-value]


def _same_table(ours: Table, theirs: Table) -> None:
    order = np.lexsort((theirs[1].numpy(), theirs[0].numpy()))
    assert all(x.equal(y[order]) for x, y in zip(ours, theirs, strict=True))


def _overlap(
    name: str,
    shape: tuple[int, ...],
    count: int,
    radius: int,
    peer: Callable[[Tensor, Tensor], Table],
    peer_name: str,
) -> Case:
    a = torch.from_numpy(_balls(shape, count, radius))
    b = a.roll(2, -1)
    return Case(
        f"mask_overlap: {name}",
        lambda: mask_overlap(a, b),
        peer_name,
        lambda: peer(a, b),
        _same_table,
        {"copy": a.nbytes + b.nbytes},
    )


def _overlap_of_noise() -> Case:
    """The worst case: no two neighbours alike, 160,000 pairs."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(400, (64, 192, 192), generator=generator) for _ in range(2))
    return Case(
        "mask_overlap: noise, 400 objects",
        lambda: mask_overlap(a, b),
        "scikit-image",
        lambda: _contingency(a, b),
        _same_table,
        {"copy": a.nbytes + b.nbytes},
    )
