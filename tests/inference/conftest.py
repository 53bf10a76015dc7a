from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from microtome.data.stores import Source, SourceInfo
from microtome.inference.objects import found
from microtome.structures import Intensity, Segmentation


class Memory(Source):
    """An image [C, *S] in memory that remembers which regions were read."""

    def __init__(self, image, name="image", spacing=None):
        channels = tuple(f"c{i}" for i in range(len(image)))
        self.image, self.regions = image, []
        self.info = SourceInfo(name, tuple(image.shape[1:]), channels, spacing, "float32")

    @property
    def intensity(self):
        zero, one = (0.0,) * len(self.image), (1.0,) * len(self.image)
        return Intensity(((0.0, 1.0),) * len(self.image), True, zero, one, zero, one)

    def read(self, region):
        self.regions.append(region)
        return self.image[(slice(None), *region)].numpy()


@dataclass
class Network:
    """A fixed random convolution network: two layers, so that tile borders matter."""

    net: nn.Module

    @classmethod
    def make(cls, dims, in_channels=2, count=3):
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
        torch.manual_seed(7)
        layers = conv(in_channels, 6, 3, padding=1), nn.Tanh(), conv(6, count, 3, padding=1)
        return cls(nn.Sequential(*layers).eval())

    def predict_samples(self, samples):
        batch = self.net(torch.stack([s.image for s in samples])).softmax(1)
        return [Segmentation(scores=scores) for scores in batch]


@pytest.fixture
def memory():
    return Memory


@pytest.fixture
def network():
    return Network.make


@pytest.fixture(params=[(70, 90), (9, 40, 50)], ids=["2", "3"])
def shape(request):
    """Of drawn objects."""
    return request.param


@pytest.fixture(params=[1 << 24, 4096], ids=["whole", "blocks"])
def block(request, monkeypatch):
    """Maps are read as a whole, or in blocks that cut objects."""
    monkeypatch.setattr(found, "BLOCK", request.param)
    monkeypatch.setattr(found, "HELD", 16)
