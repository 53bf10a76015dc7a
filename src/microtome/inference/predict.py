"""One image through a model: in tiles that are blended or stitched, or resized as a whole.

C channels, K classes, N objects, *S the image's shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..data.resizing import resized
from ..data.stores import ImageReadError, Source
from ..geometry import Placement, Region, per_axis, window
from ..structures import Boxes, DataSample, Instances, LabelLayers, Segmentation
from .blend import BlendScores, BlendWhole
from .decide import highest_of
from .fragments import fragments_of
from .running import Answer, Behind, Predicts, TileRun, tile_sample
from .stitch import Stitched, decided
from .tiles import TileGrid

Progress = Callable[[int, int], None]  # (tiles done, tiles in all)
Sure = Callable[[Region, Tensor], None]  # takes the scores of the classes chosen in a region
Size = int | Sequence[int]
Overlap = float | Sequence[float]


def predict(
    source: Source,
    model: Predicts,
    *,
    tile: Size = 512,
    overlap: Overlap = 0.5,
    batch_size: int = 4,
    progress: Progress | None = None,
    sure: Sure | None = None,
) -> Segmentation:
    """Segment an image of any size in overlapping tiles.

    Scores are blended with Gaussian weights; objects are stitched, see `joining`.

    Args:
        source: the image, read tile by tile.
        model: anything with `predict_samples`.
        tile: pixels per axis; where the image is smaller, its own size.
        overlap: what the next tile repeats of one: below 1 a part of the tile, from 1 on pixels.
        batch_size: how many tiles the model sees at once; the result does not depend on it.
        progress: called with (tiles done, tiles in all).
        sure: called with each region whose classes are decided, and their scores.

    Returns, on the CPU, `classes` [*S], uint8, or int32 for more than 255 classes; or `instances`,
    when the model answers with objects: their ids are 1…N in the order of their first pixels.
    Memory is the result and a band of scores one tile high, or a few bytes for each run of pixels
    of an object. Raises ValueError for impossible tiles.
    """
    grid = TileGrid.plan(source.info.shape, tile, overlap)
    objects, tiles = _kind(_answers(TileRun(source, model, grid, batch_size), progress))
    if objects:
        return Segmentation(instances=_stitched(tiles, grid))
    return Segmentation(classes=_blended(tiles, grid, sure))


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
    tiles = _answers(TileRun(source, model, grid, batch_size), None)
    blend = BlendWhole(grid)
    _add(tiles, blend.add)
    return blend.finish()


def predict_resized(
    source: Source, model: Predicts, *, size: Size = 512, sure: Sure | None = None
) -> Segmentation:
    """Segment an image resized as a whole; its scores are resized back before the decision.

    Both ways linear, antialiased when shrinking. Returns `classes` as `predict` does. Raises
    ValueError for a model that answers with objects: what is small would be lost.
    """
    shape = source.info.shape
    goal = per_axis(size, len(shape))
    if min(goal) < 1:
        raise ValueError(f"size must be at least 1 pixel per axis, got {size}")
    whole = tile_sample(source, window(shape))
    scale = tuple(a / b for a, b in zip(shape, goal, strict=True))
    spacing = whole.spacing and tuple(a * b for a, b in zip(whole.spacing, scale, strict=True))
    small = replace(
        whole,
        image=resized(whole.image, goal),
        spacing=spacing,
        placement=Placement((0.0,) * len(shape), scale, shape),
    )
    scores = _scores(model, small)
    maps = (resized(one[None], shape)[0] for one in scores)
    decided = highest_of(maps, len(scores))
    if sure is not None:
        sure(window(shape), decided.scores)
    return Segmentation(classes=decided.classes)


def _answers(run: TileRun, progress: Progress | None) -> Iterator[tuple[int, Segmentation]]:
    """Every tile's number and its result on the CPU, in the grid's order."""
    total = len(run.grid)

    def checked(answered: tuple[int, Answer]) -> tuple[int, Segmentation]:
        number, answer = answered
        if isinstance(answer, ImageReadError):
            raise answer
        done = number + 1
        if progress is not None and (done % run.batch_size == 0 or done == total):
            progress(done, total)
        return number, answer

    return map(checked, run.answers(range(total)))


def _kind(
    tiles: Iterator[tuple[int, Segmentation]],
) -> tuple[bool, Iterator[tuple[int, Segmentation]]]:
    """Whether the first tile's answer is objects, and all tiles."""
    first = [next(tiles)]

    def again() -> Iterator[tuple[int, Segmentation]]:
        yield first.pop()  # so that nothing keeps it
        yield from tiles

    return first[0][1].instances is not None, again()


def _blended(
    tiles: Iterable[tuple[int, Segmentation]], grid: TileGrid, sure: Sure | None
) -> Tensor:
    whole: list[Tensor] = []

    def keep(rows: Region, classes: Tensor, scores: Tensor) -> None:
        if not whole:
            whole.append(classes.new_empty(grid.shape))
        whole[0][rows] = classes
        if sure is not None:
            sure(rows, scores)

    blend = BlendScores(grid, keep)
    _add(tiles, blend.add)
    blend.finish()
    return whole[0]


def _add(tiles: Iterable[tuple[int, Segmentation]], add: Callable[[int, Tensor], None]) -> None:
    """Blend tiles while the next ones are predicted."""
    with Behind() as behind:
        for number, scores in map(_tile_scores, tiles):
            behind.do(partial(add, number, scores))
            del scores  # a view of its whole batch, which nothing else should keep


def _tile_scores(tile: tuple[int, Segmentation]) -> tuple[int, Tensor]:
    number, result = tile
    if result.scores is None:
        raise ValueError("the model answers with objects, and scores are asked for")
    return number, result.scores


def _stitched(tiles: Iterable[tuple[int, Segmentation]], grid: TileGrid) -> Instances:
    found = {}
    for number, result in tiles:
        if result.instances is None:
            raise ValueError(
                "the model answered with objects for some tiles and without for others"
            )
        found[number] = fragments_of(result.instances, number, grid)
    objects = decided(grid, found.get)
    ids = Stitched(grid, found.get, objects).read(window(grid.shape))
    painted = torch.from_numpy(ids.view(np.int32))
    labels = torch.from_numpy(objects.labels)
    masks = LabelLayers(painted[None], torch.arange(1, len(labels) + 1))
    scores = torch.from_numpy(objects.scores)
    return Instances(labels, Boxes(masks.boxes()), scores, masks)


def _scores(model: Predicts, sample: DataSample) -> Tensor:
    """A sample's scores [K, *S] on the CPU in float32."""
    with torch.no_grad():
        scores = model.predict_samples([sample])[0].scores
    if scores is None:
        raise ValueError(
            "a model that answers with objects predicts in tiles: take the mode `sliding`"
        )
    return scores.to("cpu", torch.float32)
