"""Tiles through a model: the next ones are read while the model works on these."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar

import torch

from ..data.stores import ImageReadError, Source
from ..geometry import Placement, Region
from ..structures import DataSample, Segmentation
from .tiles import TileGrid

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 1  # batches read ahead, and results that wait while one is kept; more only take memory


class Predicts(Protocol):
    """All that inference knows of a model: a Segmenter, a baseline and a test's network have it."""

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        """One result per sample, at the sample's shape.

        With `scores [K, *S]` in float32, which are blended, or `instances` with masks, which are
        stitched.
        """
        ...


Answer = Segmentation | ImageReadError  # what became of a tile


class TileRun(NamedTuple):
    """A model on the tiles of a source; it can be pickled if both can.

    Attributes:
        source: the image, read tile by tile.
        model: anything with `predict_samples`.
        grid: all tiles.
        batch_size: how many tiles the model sees at once; the result does not depend on it.
    """

    source: Source
    model: Predicts
    grid: TileGrid
    batch_size: int

    def answers(self, numbers: Iterable[int]) -> Iterator[tuple[int, Answer]]:
        """Each tile's result on the CPU, in the order given; or why it could not be read."""
        for batch in ahead(self._read, batched(numbers, self.batch_size)):
            samples = [s for _, s in batch if isinstance(s, DataSample)]
            results = deque(self._predict(samples) if samples else [])
            for number, sample in batch:
                if isinstance(sample, ImageReadError):
                    yield number, sample
                else:
                    yield number, results.popleft()  # nothing here keeps it

    def _read(self, numbers: Sequence[int]) -> list[tuple[int, DataSample | ImageReadError]]:
        read: list[tuple[int, DataSample | ImageReadError]] = []
        for number in numbers:
            try:
                read.append((number, tile_sample(self.source, self.grid[number])))
            except ImageReadError as error:
                read.append((number, error))
        return read

    def _predict(self, samples: list[DataSample]) -> list[Segmentation]:
        with torch.no_grad():
            results = self.model.predict_samples(samples)
        found = [_on_cpu(r) for r in results if r.scores is not None or r.instances is not None]
        if len(found) != len(samples):
            raise ValueError(
                f"the model gave {len(found)} results with scores or objects for {len(samples)} "
                "samples: `predict_samples` must return one Segmentation with `scores` [K, *S] "
                "or `instances` for each"
            )
        return found


def tile_sample(source: Source, region: Region) -> DataSample:
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


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter; raises ValueError for sizes below 1."""
    if size < 1:
        raise ValueError(f"batch_size must be at least 1, got {size}")
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def ahead(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Results of `work`, in order, done by a thread that is a few items ahead."""
    with ThreadPoolExecutor(1, "ahead") as thread:
        rest = iter(items)
        waiting = deque(thread.submit(work, item) for item in islice(rest, AHEAD))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(thread.submit(work, item) for item in islice(rest, 1))
            yield result


class Behind:
    """Does work in a thread, in order, while the caller goes on; errors come out later.

    Used as a context: at its end everything is done.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "behind")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while kind is None and self._waiting:
                self._waiting.popleft().result()
        finally:
            self._thread.shutdown(cancel_futures=True)

    def do(self, work: Callable[[], None]) -> None:
        """Hand work over; waits while too much of it is undone."""
        while len(self._waiting) >= AHEAD:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(work))


def _on_cpu(result: Segmentation) -> Segmentation:
    scores = None if result.scores is None else result.scores.to("cpu", torch.float32)
    return Segmentation(instances=result.instances and result.instances.to("cpu"), scores=scores)
