"""The whole Mask2Former beside transformers', with equal weights: ResNet-50, 100 queries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from .harness import Case, peak_memory

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "heads"))
from mask2former_pair import PUBLISHED, batch, make_pair

OBJECTS = 5


def cases() -> Iterator[Case]:
    for size in (256, 512):
        yield from _case(size)


def memory() -> Iterator[dict[str, Any]]:
    """Of a training step at 256², beyond the model itself."""
    for size in (256,):
        start = f"from benchmarks.mask2former import *\nours, theirs = steps({size})\n"
        yield {
            "case": f"Mask2Former {size}² step",
            "ours": peak_memory(start + "work = ours"),
            "transformers": peak_memory(start + "work = theirs"),
        }


def _case(size: int) -> Iterator[Case]:
    pair = make_pair(PUBLISHED)
    images, _ = pair.ours.prepare(batch([(size, size)]))

    def ours() -> Any:
        with torch.no_grad():
            prediction = pair.ours.eval()(images)
            return prediction.class_logits[-1]

    def theirs() -> Any:
        with torch.no_grad():
            return pair.theirs.eval()(images.tensor).class_queries_logits

    def close(a: Any, b: Any) -> None:
        assert (a - b).abs().max() < 0.1, float((a - b).abs().max())  # masks at 0 fall either way

    yield Case(f"Mask2Former {size}²: forward", ours, "transformers", theirs, close)
    yield Case(f"Mask2Former {size}²: step", *_named(*steps(size)))


def steps(size: int) -> tuple[Any, Any]:
    """Forward, losses and gradients of every parameter; the loss is the answer."""
    pair = make_pair(PUBLISHED)
    images, targets = pair.ours.prepare(batch([(size, size)]))
    masks = [t.instances.masks.dense().float() for t in targets]
    labels = [t.instances.labels for t in targets]

    def ours() -> float:
        model = pair.ours.train()
        total = model.total(model.losses(model(images, targets), targets))
        total.backward()
        model.zero_grad()
        return float(total.detach())

    def theirs() -> float:
        model = pair.theirs.train()
        total = model(images.tensor, mask_labels=masks, class_labels=labels).loss
        total.backward()
        model.zero_grad()
        return float(total.detach())

    return ours, theirs


def _named(ours: Any, theirs: Any) -> tuple[Any, ...]:
    def close(a: float, b: float) -> None:
        assert abs(a - b) < 0.1 * abs(b), (a, b)  # points are drawn at random on both sides

    return ours, "transformers", theirs, close
