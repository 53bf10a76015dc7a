"""One image through a model: tiled and blended, or resized as a whole.

C channels, K classes, *S the image's shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from ..data.resizing import resized
from ..data.stores import Source
from ..geometry import Placement, Region, per_axis, window
from ..structures import DataSample, Segmentation
from .blend import BlendScores, Decide
from .decide import highest, highest_of
from .tiles import TileGrid

Progress = Callable[[int, int], None]  # (tiles done, tiles in all)
Size = int | Sequence[int]
Overlap = float | Sequence[float]


class Predicts(Protocol):
    """All that inference knows of a model: a Segmenter, a baseline and a test's network have it."""

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        """One result per sample, at the sample's shape, with `scores [K, *S]` in float32."""
        ...


def predict(
    source: Source,
    model: Predicts,
    *,
    tile: Size = 512,
    overlap: Overlap = 0.5,
    batch_size: int = 4,
    progress: Progress | None = None,
) -> Segmentation:
    """Segment an image of any size in overlapping tiles, blended with Gaussian weights.

    Args:
        source: the image, read tile by tile.
        model: anything with `predict_samples`.
        tile: pixels per axis; where the image is smaller, its own size.
        overlap: the part of a tile that the next one repeats, in [0, 1).
        batch_size: how many tiles the model sees at once; the result does not depend on it.
        progress: called with (tiles done, tiles in all).

    Returns `classes` [*S] on the CPU: uint8, or int32 for more than 255 classes. Memory is the
    result and a band of scores one tile high. Raises ValueError for impossible tiles.
    """
    grid = TileGrid.plan(source.info.shape, tile, overlap)
    classes = _blended(_scored(source, model, grid, batch_size, progress), grid, highest)
    return Segmentation(classes=classes)


def predict_scores(
    source: Source,
    model: Predicts,
    *,
    tile: Size = 512,
    overlap: Overlap = 0.5,
    batch_size: int = 4,
) -> Tensor:
    """Like `predict`, undecided: the blended scores [K, *S], K times the image in memory."""
    grid = TileGrid.plan(source.info.shape, tile, overlap)
    tiles = _scored(source, model, grid, batch_size, None)
    return _blended(tiles, grid, lambda scores: scores.movedim(0, 1).clone()).movedim(1, 0)


def predict_resized(source: Source, model: Predicts, *, size: Size = 512) -> Segmentation:
    """Segment an image resized as a whole; its scores are resized back before the decision.

    Both ways linear, antialiased when shrinking. Returns `classes` as `predict` does.
    """
    shape = source.info.shape
    goal = per_axis(size, len(shape))
    if min(goal) < 1:
        raise ValueError(f"size must be at least 1 pixel per axis, got {size}")
    whole = _tile_sample(source, window(shape))
    scale = tuple(a / b for a, b in zip(shape, goal, strict=True))
    spacing = whole.spacing and tuple(a * b for a, b in zip(whole.spacing, scale, strict=True))
    small = replace(
        whole,
        image=resized(whole.image, goal),
        spacing=spacing,
        placement=Placement((0.0,) * len(shape), scale, shape),
    )
    scores = _scores(model, [small])[0]
    maps = (resized(one[None], shape)[0] for one in scores)
    return Segmentation(classes=highest_of(maps, len(scores)))


def _scored(
    source: Source, model: Predicts, grid: TileGrid, batch_size: int, progress: Progress | None
) -> Iterator[tuple[Region, Tensor]]:
    """Every tile's region and its scores [K, *tile] on the CPU, in the grid's order."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    regions, done = iter(grid), 0
    while batch := list(islice(regions, batch_size)):
        yield from zip(batch, _scores(model, [_tile_sample(source, r) for r in batch]), strict=True)
        done += len(batch)
        if progress is not None:
            progress(done, len(grid))


def _blended(tiles: Iterator[tuple[Region, Tensor]], grid: TileGrid, decide: Decide) -> Tensor:
    rows: list[Tensor] = []
    blend = BlendScores(grid.shape, grid.tile, lambda _, decided: rows.append(decided), decide)
    for region, scores in tiles:
        blend.add(region, scores)
    blend.finish()
    return torch.cat(rows)


def _tile_sample(source: Source, region: Region) -> DataSample:
    """What lies in a region; a copy, since a model may do as it likes with its input."""
    info = source.info
    start = tuple(float(s.start) for s in region)
    return DataSample(
        image=torch.tensor(source.read(region)),
        spacing=info.spacing,
        channels=info.channels,
        placement=Placement(start, (1.0,) * len(region), info.shape),
        intensity=source.intensity,
        meta={"name": info.name},
    )


def _scores(model: Predicts, samples: list[DataSample]) -> list[Tensor]:
    """Each sample's scores [K, *S] on the CPU in float32, moved as soon as they are there."""
    with torch.no_grad():
        results = model.predict_samples(samples)
    found = [r.scores.to("cpu", torch.float32) for r in results if r.scores is not None]
    if len(found) != len(samples):
        raise ValueError(
            f"the model gave {len(found)} score maps for {len(samples)} samples: "
            "`predict_samples` must return one Segmentation with `scores` [K, *S] for each"
        )
    return found
