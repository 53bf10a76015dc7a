"""Backbones beside their originals, in time and memory, and how time grows with the volume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from microtome.backbones.convnext import ConvNeXt
from microtome.backbones.hiera import Hiera
from microtome.backbones.internimage import InternImage
from microtome.backbones.resnet import ResNet
from microtome.backbones.vit import ViT

from .backbone_pairs import PAIRS, anything, image_for, parameters
from .harness import TINY, Case, peak_memory

SIDES = (32, 64) if TINY else (32, 64, 96)
PASSES = 1 if TINY else 4
WEIGHED = list(PAIRS)[: 1 if TINY else None]


def cases() -> Iterator[Case]:
    """Forward, and forward with gradients of all parameters, which is most of a step."""
    for name, make in PAIRS.items():
        pair = make()
        image = image_for(pair)
        for kind, check in ((forward, pair.check), (step, anything)):
            ours, peer = partial(kind, pair.ours, image), partial(kind, pair.peer, image)
            yield Case(f"{name}: {kind.__name__}", ours, pair.peer_name, peer, check)


def memory() -> Iterator[dict[str, Any]]:
    """Bytes of one step beyond the model itself, each in a process of its own."""
    for name in WEIGHED:
        code = f"from benchmarks.backbones import *\nwork = alone({name!r}, {{!r}})\n"
        pair = PAIRS[name]()
        yield {
            "case": f"{name}: step",
            "peer_name": pair.peer_name,
            "ours": peak_memory(code.format("ours")),
            "peer": peak_memory(code.format("peer")),
            "ours_parameters": parameters(pair.ours),
            "peer_parameters": parameters(pair.peer),
        }


def growth() -> Iterator[dict[str, Any]]:
    """Milliseconds of a forward pass on cubes of voxels, and the power of the voxels they follow.

    Work for each voxel alone has the slope 1; 96³ are 27 times 32³.
    """
    for name, make in FAMILIES.items():
        model = make(in_channels=1, spatial_dims=3).eval()
        spent = [_milliseconds(model, torch.randn(1, 1, s, s, s)) for s in SIDES]
        named = {f"{s}³": ms for s, ms in zip(SIDES, spent, strict=True)}
        voxels = [3 * math.log(s) for s in SIDES]
        slope, _ = np.polyfit(voxels, np.log(spent), 1)
        last = math.log(spent[-1] / spent[-2]) / (voxels[-1] - voxels[-2])
        yield {"case": name, **named, "slope": float(slope), "slope_at_the_end": last}


def forward(model: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return list(model.eval()(image))


def step(model: nn.Module, image: Tensor) -> None:
    sum(x.square().mean() for x in model.train()(image)).backward()
    model.zero_grad()


def alone(name: str, which: str) -> Callable[[], None]:
    """A step of one of a pair, the other forgotten."""
    pair = PAIRS[name]()
    return partial(step, getattr(pair, which), image_for(pair))


_TOKENS = {"patch": 8, "embed_dim": 192, "depth": 8, "num_heads": 3}
FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "ResNet-18, a quarter of its width": partial(ResNet, 18, width=16),
    "ConvNeXt V2 atto": partial(ConvNeXt, (2, 2, 6, 2), (40, 80, 160, 320)),
    "InternImage, 16 channels": partial(InternImage, (1, 1, 2, 1), 16, 2),
    "Hiera, 32 channels": partial(Hiera, (1, 1, 2, 1), 32, grid=8),
    "ViT, patches of 8³": partial(ViT, **_TOKENS),
    "ViT, windows of 4³ in 7 of 8 blocks": partial(ViT, **_TOKENS, window=4, groups=1),
}


def _milliseconds(model: nn.Module, image: Tensor) -> float:
    """The least of a few passes, after one that does not count."""
    forward(model, image)
    spent = []
    for _ in range(PASSES):
        start = time.perf_counter()
        forward(model, image)
        spent.append(time.perf_counter() - start)
    return 1e3 * min(spent)
