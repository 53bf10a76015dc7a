"""Ways to fine-tune a foundation model: time, memory and what is trained.

The model has kaiko_vits16's shape, and UNI's for memory, with random weights; the tiles are noise,
of a size that histology is cut into. Each way with a linear head is timed beside training
everything; with other adapters and heads it is told how long a step takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import nn

from microtome.backbones import Backbone
from microtome.backbones.cnn_adapter import CNNAdapter
from microtome.backbones.foundation import FoundationViT
from microtome.backbones.remembered import Remembered
from microtome.backbones.transformer_adapter import TransformerAdapter
from microtome.backbones.tuned import Mode, Tuned
from microtome.backbones.vit_adapter import ViTAdapter
from microtome.heads.linear import Linear
from microtome.heads.mask2former import Mask2Former
from microtome.heads.upernet import UPerNet
from microtome.heads.upsampling import Upsampling
from microtome.models import Segmenter
from microtome.models.segmenter import MakeHead, MakeNeck
from microtome.necks.simple_pyramid import SimplePyramid
from microtome.structures import Classes, DataSample, Segmentation

from .harness import TINY, Case, peak_memory

SMALL, LARGE = "kaiko_vits16", "uni_v1"
SIDE, BATCH = (32, 2) if TINY else (224, 4)
OPTIONS = {"depth": 4} if TINY else None
STEPS = 2 if TINY else 10  # of training, to see that the loss falls


class Way(NamedTuple):
    """A backbone around a model of some name, and what comes after it."""

    backbone: Callable[[str], Backbone]
    head: MakeHead = Linear
    neck: MakeNeck | None = None


def tuned(name: str, mode: Mode, blocks: int = 1) -> Tuned:
    return Tuned(FoundationViT(name, options=OPTIONS), mode, blocks)


LINEAR = {
    "full": Way(lambda name: tuned(name, "full")),
    "frozen": Way(lambda name: tuned(name, "frozen")),
    "frozen, remembered": Way(lambda name: Remembered(tuned(name, "frozen"))),
    "partial": Way(lambda name: tuned(name, "partial")),
    "lora": Way(lambda name: tuned(name, "lora")),
    "dora": Way(lambda name: tuned(name, "dora")),
    "CNN adapter": Way(lambda name: CNNAdapter(tuned(name, "frozen"))),
    "transformer adapter": Way(lambda name: TransformerAdapter(tuned(name, "frozen"))),
}
WAYS = LINEAR | {
    "frozen, upsampling": Way(lambda name: tuned(name, "frozen"), Upsampling),
    "CNN adapter, upsampling": Way(lambda name: CNNAdapter(tuned(name, "frozen")), Upsampling),
    "lora, UPerNet": Way(lambda name: tuned(name, "lora"), UPerNet, SimplePyramid),
    "ViT-Adapter, Mask2Former": Way(lambda name: ViTAdapter(tuned(name, "full")), Mask2Former),
}


class Training:
    """Optimiser steps on the same tiles, whose classes are the sign of their smoothed noise."""

    def __init__(self, way: str, name: str) -> None:
        torch.manual_seed(0)
        classes = Classes(("background", "gland"))
        made = WAYS[way]
        self.model = Segmenter(made.backbone(name), made.head, classes, made.neck).train()
        self.tiles = [tile(i) for i in range(BATCH)]
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, 1e-3)

    def step(self) -> float:
        images, targets = self.model.prepare(self.tiles)
        assert targets is not None
        losses = self.model.losses(self.model(images, targets), targets)
        total = self.model.total(losses)
        self.optimiser.zero_grad()
        total.backward()
        self.optimiser.step()
        return float(total.detach())


def tile(seed: int) -> DataSample:
    noise = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    smooth = nn.functional.avg_pool2d(noise[None], 17, 1, 8)[0]
    classes = (smooth[0] > 0.5).long()
    return DataSample((noise + classes).clamp(max=2) / 2, Segmentation(classes))


def cases() -> Iterator[Case]:
    """A step of each way beside a step of training everything."""
    full = Training("full", SMALL)
    for way in LINEAR:
        if way != "full":
            name = f"{SMALL}, linear head: {way}"
            yield Case(name, Training(way, SMALL).step, "full", full.step, fell)


def fell(ours: float, full: float) -> None:
    """Losses are numbers; that they fall is told with the memory."""
    assert 0 < ours < 100 and 0 < full < 100


def memory() -> Iterator[dict[str, Any]]:
    """Bytes of a model, its optimiser and two steps; what is trained, and the loss after some."""
    for way in WAYS:
        training, ends = Training(way, SMALL), [time.perf_counter()]
        history = []
        for _ in range(STEPS):
            history.append(training.step())
            ends.append(time.perf_counter())
        yield {
            "case": f"{SMALL}: {way}",
            "two_steps": peak_memory(_alone(way, SMALL)),
            **_counts(training.model),
            "loss": f"{history[0]:.2f} to {history[-1]:.2f} in {STEPS} steps",
            "a step": f"{1e3 * min(b - a for a, b in pairwise(ends)):.0f} ms",
        }
    whole = 0
    for way in ("full", "frozen", "lora", "dora"):
        with torch.device("meta"):
            counts = _counts(WAYS[way].backbone(LARGE))
        peak = peak_memory(_alone(way, LARGE))
        whole = whole or peak
        row = {"case": f"{LARGE}: {way}", "two_steps": peak, **counts}
        yield {**row, "loss": f"{peak / whole:.2f} of full memory"}


def _alone(way: str, name: str) -> str:
    return (
        "from benchmarks.finetuning import *\nimport peft\n"
        f"def work():\n    training = Training({way!r}, {name!r})\n"
        "    training.step(), training.step()\n"
    )


def _counts(model: nn.Module) -> dict[str, int]:
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {"trained": sum(n for n, on in sizes if on), "parameters": sum(n for n, _ in sizes)}
