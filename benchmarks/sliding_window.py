"""Tiled prediction with a Gaussian blend against MONAI's sliding window, on the same network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from microtome.data.stores import ArraySource
from microtome.inference import predict
from microtome.structures import DataSample, Segmentation

from .harness import Case


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
    yield _case((2048, 2048), 3, 5, tile=512)
    yield _case((4096, 4096), 3, 5, tile=512)
    yield _case((64, 256, 256), 1, 2, tile=(32, 128, 128))


def _case(shape: tuple[int, ...], channels: int, classes: int, tile: int | tuple[int, ...]) -> Case:
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
