"""Tiled prediction with a Gaussian blend against MONAI's sliding window, on the same network."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from microtome.data.stores import ArraySource
from microtome.inference import predict
from microtome.structures import DataSample, Segmentation

from .harness import Case, peak_memory

GROWTH = "Seconds in all, the network's own, and what the rest adds to them:"


class OneConvolution:
    """A network so small that the time is that of tiling and blending."""

    def __init__(self, in_channels: int, classes: int, spatial_dims: int) -> None:
        torch.manual_seed(0)
        kind = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[spatial_dims]
        self.net = kind(in_channels, classes, 1).requires_grad_(False)

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        return [Segmentation(scores=s) for s in self(torch.stack([s.image for s in samples]))]

    def __call__(self, batch: Tensor) -> Tensor:
        return self.net(batch).softmax(1)


def cases() -> Iterator[Case]:
    yield case((2048, 2048), 3, 5, tile=512)
    yield case((4096, 4096), 3, 5, tile=512)
    yield case((64, 256, 256), 1, 2, tile=(32, 128, 128))
    yield case((128, 256, 256), 1, 2, tile=(64, 128, 128))


def memory() -> Iterator[dict[str, Any]]:
    """Peaks of 19 classes at 4096², each in a process of its own."""
    start = "from benchmarks.sliding_window import case\n"
    start += "it = case((4096, 4096), 3, 19, tile=512)\n"
    yield {
        "case": "4096x4096, 19 classes",
        "ours": peak_memory(start + "work = it.ours"),
        "MONAI": peak_memory(start + "work = it.peer"),
    }


def growth() -> Iterator[dict[str, Any]]:
    """The part of the time that is not the network's, when that takes 100 ms a tile."""
    image = torch.rand(3, 2048, 2048, generator=torch.Generator().manual_seed(0))
    network = Slow(OneConvolution(3, 5, 2))
    start = time.perf_counter()
    predict(ArraySource(image.numpy(), name="image"), network, tile=512, overlap=0.5, batch_size=1)
    seconds = time.perf_counter() - start
    yield {
        "case": "2048x2048, 100 ms a tile",
        "seconds": seconds,
        "network_seconds": network.seconds,
        "overhead": seconds / network.seconds - 1,
    }


class Slow:
    """A network that takes 100 ms a tile, and says how long it took in all."""

    def __init__(self, network: OneConvolution) -> None:
        self.network, self.seconds = network, 0.0

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        start = time.perf_counter()
        found = self.network.predict_samples(samples)
        time.sleep(max(0.0, 0.1 * len(samples) - (time.perf_counter() - start)))
        self.seconds += time.perf_counter() - start
        return found


def case(shape: tuple[int, ...], channels: int, classes: int, tile: int | tuple[int, ...]) -> Case:
    image = torch.rand(channels, *shape, generator=torch.Generator().manual_seed(0))
    network = OneConvolution(channels, classes, len(shape))
    source = ArraySource(image.numpy(), name="image")

    def ours() -> Tensor:
        found = predict(source, network, tile=tile, overlap=0.5, batch_size=4).classes
        assert found is not None
        return found

    def peer() -> Tensor:
        blended = sliding_window_inference(
            image[None], tile, 4, network, overlap=0.5, mode="gaussian"
        )
        assert isinstance(blended, Tensor)
        return blended[0].argmax(0)

    def check(a: Tensor, b: Tensor) -> None:
        assert (a != b).float().mean() < 1e-4  # ties may fall either way

    name = "x".join(map(str, shape)) + f", {classes} classes, tile {tile}"
    return Case(name, ours, "MONAI", peer, check)
