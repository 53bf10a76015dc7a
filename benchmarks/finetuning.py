"""Ways to fine-tune a foundation model: time, memory and what is trained.

The model has kaiko_vits16's shape, and UNI's for memory, with random weights; the tiles are noise,
of a size that histology is cut into. Each way is timed beside training everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from microtome.backbones import Backbone
from microtome.backbones.cnn_adapter import CNNAdapter
from microtome.backbones.foundation import FoundationViT
from microtome.backbones.remembered import Remembered
from microtome.backbones.transformer_adapter import TransformerAdapter
from microtome.backbones.tuned import Tuned
from microtome.heads.linear import Linear
from microtome.models import Segmenter
from microtome.structures import Classes, DataSample, Segmentation

from .harness import TINY, Case, peak_memory

SMALL, LARGE = "kaiko_vits16", "uni_v1"
SIDE, BATCH = (32, 2) if TINY else (224, 4)
OPTIONS = {"depth": 1} if TINY else None
STEPS = 2 if TINY else 10  # of training, to see that the loss falls


def tuned(mode: str, name: str) -> Backbone:
    return Tuned(FoundationViT(name, options=OPTIONS), mode)  # type: ignore[arg-type]


WAYS: dict[str, Callable[[str], Backbone]] = {
    "full": partial(tuned, "full"),
    "frozen": partial(tuned, "frozen"),
    "frozen, remembered": lambda name: Remembered(tuned("frozen", name)),
    "partial": lambda name: Tuned(FoundationViT(name, options=OPTIONS), "partial", 1),
    "lora": partial(tuned, "lora"),
    "dora": partial(tuned, "dora"),
    "CNN adapter": lambda name: CNNAdapter(tuned("frozen", name)),  # type: ignore[arg-type]
    "transformer adapter": lambda name: TransformerAdapter(tuned("frozen", name)),  # type: ignore
}


class Training:
    """Optimiser steps on the same tiles, whose classes are the sign of their smoothed noise."""

    def __init__(self, way: str, name: str) -> None:
        torch.manual_seed(0)
        classes = Classes(("background", "gland"))
        self.model = Segmenter(WAYS[way](name), Linear, classes).train()
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
    for way in WAYS:
        if way != "full":
            name = f"{SMALL}, linear head: {way}"
            yield Case(name, Training(way, SMALL).step, "full", full.step, fell)


def fell(ours: float, full: float) -> None:
    """Losses are numbers; that they fall is told with the memory."""
    assert 0 < ours < 100 and 0 < full < 100


def memory() -> Iterator[dict[str, Any]]:
    """Bytes of a model, its optimiser and two steps; what is trained, and the loss after some."""
    for way in WAYS:
        training = Training(way, SMALL)
        history = [training.step() for _ in range(STEPS)]
        yield {
            "case": f"{SMALL}: {way}",
            "two_steps": peak_memory(_alone(way, SMALL)),
            **_counts(training.model),
            "loss": f"{history[0]:.2f} to {history[-1]:.2f} in {STEPS} steps",
        }
    whole = 0
    for way in ("full", "frozen", "lora", "dora"):
        with torch.device("meta"):
            counts = _counts(WAYS[way](LARGE))
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
