"""Tiled prediction with a Gaussian blend against MONAI's sliding window, on the same network."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from microtome.data.stores import ArraySource
from microtome.inference import predict, predict_scores
from microtome.structures import DataSample, Segmentation

from .harness import Case, peak_memory

GROWTH = "Seconds in all, the network's own, and what the rest adds to them:"
Tile = int | tuple[int, ...]

SIZES: list[tuple[tuple[int, ...], int, int, Tile]] = [  # image, channels, classes, tile
    ((2048, 2048), 3, 5, 512),
    ((4096, 4096), 3, 5, 512),
    ((64, 256, 256), 1, 2, (32, 128, 128)),
    ((128, 256, 256), 1, 2, (64, 96, 96)),
]


class Stub:
    """One multiplication per score: what is timed is reading, blending and deciding."""

    def __init__(self, classes: int, spatial_dims: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.factors = torch.rand(classes, *[1] * spatial_dims, generator=generator)

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        return [Segmentation(scores=s) for s in self(torch.stack([s.image for s in samples]))]

    def __call__(self, batch: Tensor) -> Tensor:
        return (batch[:, :1] - 0.5) * self.factors


def cases() -> Iterator[Case]:
    for shape, channels, classes, tile in SIZES:
        yield case(shape, channels, classes, tile)
        yield case(shape, channels, classes, tile, decided=False)


def memory() -> Iterator[dict[str, Any]]:
    """Peaks of 19 classes at 4096², tile by tile, each in a process of its own."""
    for tile in (256, 512):
        start = "from benchmarks.sliding_window import case\n"
        start += f"it = case((4096, 4096), 3, 19, {tile}, batch=1)\n"
        yield {
            "case": f"4096x4096, 19 classes, tile {tile}",
            "ours": peak_memory(start + "work = it.ours"),
            "MONAI": peak_memory(start + "work = it.peer"),
        }


def growth() -> Iterator[dict[str, Any]]:
    """The part of the time that is not the network's, when that takes 100 ms a tile."""
    image = torch.rand(3, 2048, 2048, generator=torch.Generator().manual_seed(0))
    source = ArraySource(image.numpy(), name="image")
    runs = []
    for _ in range(3):
        network = Slow(Stub(5, 2))
        start = time.perf_counter()
        predict(source, network, tile=512, overlap=0.5, batch_size=1)
        runs.append((time.perf_counter() - start, network.seconds))
    seconds, network_seconds = sorted(runs)[1]
    yield {
        "case": "2048x2048, 5 classes, 100 ms a tile",
        "seconds": seconds,
        "network_seconds": network_seconds,
        "overhead, %": 100 * (seconds / network_seconds - 1),
    }


class Slow:
    """A network that takes 100 ms a tile, and says how long it took in all."""

    def __init__(self, network: Stub) -> None:
        self.network, self.seconds = network, 0.0

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        start = time.perf_counter()
        found = self.network.predict_samples(samples)
        time.sleep(max(0.0, 0.1 * len(samples) - (time.perf_counter() - start)))
        self.seconds += time.perf_counter() - start
        return found


def case(
    shape: tuple[int, ...],
    channels: int,
    classes: int,
    tile: Tile,
    *,
    decided: bool = True,
    batch: int = 4,
) -> Case:
    """Class maps, as a user wants them, or the blended scores alone."""
    image = torch.rand(channels, *shape, generator=torch.Generator().manual_seed(0))
    network = Stub(classes, len(shape))
    source = ArraySource(image.numpy(), name="image")

    def ours() -> Tensor:
        if not decided:
            return predict_scores(source, network, tile=tile, overlap=0.5, batch_size=batch)
        found = predict(source, network, tile=tile, overlap=0.5, batch_size=batch).classes
        assert found is not None
        return found

    def peer() -> Tensor:
        blended = sliding_window_inference(
            image[None], tile, batch, network, overlap=0.5, mode="gaussian"
        )
        assert isinstance(blended, Tensor)
        return blended[0].argmax(0) if decided else blended[0]

    def check(a: Tensor, b: Tensor) -> None:
        if decided:
            assert (a != b).float().mean() < 1e-4  # ties may fall either way
        else:
            torch.testing.assert_close(a, b)

    name = "x".join(map(str, shape)) + f", {classes} {'classes' if decided else 'scores'}"
    return Case(f"{name}, tile {tile}", ours, "MONAI", peer, check)
