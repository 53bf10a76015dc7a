"""The whole Mask2Former beside transformers', with equal weights: ResNet-50, 100 queries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from .harness import Case, peak_memory

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "heads"))
from mask2former_pair import PUBLISHED, batch, make_pair

FLOAT, HALF = torch.float32, torch.bfloat16


def cases() -> Iterator[Case]:
    """In float32; then ours under autocast against the peer without it and with it."""
    for size in (256, 512):
        yield from _case(size, FLOAT, FLOAT)
    for peer in (FLOAT, HALF):
        yield from _case(512, HALF, peer)


def memory() -> Iterator[dict[str, Any]]:
    """Of a training step, beyond the model itself."""
    for size in (256, 512):
        start = (
            f"from benchmarks.mask2former import *\nours, theirs = steps({size}, FLOAT, FLOAT)\n"
        )
        yield {
            "case": f"Mask2Former {size}² step",
            "ours": peak_memory(start + "work = ours"),
            "transformers": peak_memory(start + "work = theirs"),
        }


def _case(size: int, ours_in: torch.dtype, theirs_in: torch.dtype) -> Iterator[Case]:
    pair = make_pair(PUBLISHED)
    images, _ = pair.ours.prepare(batch([(size, size)]))

    @torch.no_grad()
    def ours() -> Any:
        with _precision(ours_in):
            return pair.ours.eval()(images).class_logits[-1].float()

    @torch.no_grad()
    def theirs() -> Any:
        with _precision(theirs_in):
            return pair.theirs.eval()(images.tensor).class_queries_logits.float()

    def close(a: Any, b: Any) -> None:
        # masks at 0 fall either way, and more of them in half precision
        away = (a - b).abs()
        assert away.max() < 0.1 if ours_in == theirs_in == FLOAT else away.mean() < 0.2, away.max()

    name = f"Mask2Former {size}²{', bf16' if ours_in == HALF else ''}"
    peer = f"transformers{', bf16' if theirs_in == HALF else ''}"
    yield Case(
        f"{name}: forward", ours, peer, theirs, close, _operations(lambda: pair.ours(images))
    )
    ours_step, their_step = steps(size, ours_in, theirs_in)
    yield Case(f"{name}: step", ours_step, peer, their_step, _near, _operations(ours_step))


def steps(size: int, ours_in: torch.dtype, theirs_in: torch.dtype) -> tuple[Any, Any]:
    """Forward, losses and gradients of every parameter; the loss is the answer."""
    pair = make_pair(PUBLISHED)
    images, targets = pair.ours.prepare(batch([(size, size)]))
    masks = [t.instances.masks.dense().tensor.float() for t in targets]
    labels = [t.instances.labels for t in targets]

    def ours() -> float:
        model = pair.ours.train()
        with _precision(ours_in):
            total = model.total(model.losses(model(images, targets), targets))
        total.backward()
        model.zero_grad()
        return float(total.detach())

    def theirs() -> float:
        model = pair.theirs.train()
        with _precision(theirs_in):
            total = model(images.tensor, mask_labels=masks, class_labels=labels).loss
        total.backward()
        model.zero_grad()
        return float(total.detach())

    return ours, theirs


def _precision(dtype: torch.dtype) -> Any:
    return torch.autocast("cpu", dtype, enabled=dtype != FLOAT)


def _operations(run: Any) -> dict[str, float]:
    """Of products and convolutions."""
    with FlopCounterMode(display=False) as counted:
        run()
    return {"matmul": float(counted.get_total_flops())}


def _near(a: float, b: float) -> None:
    assert abs(a - b) < 0.1 * abs(b), (a, b)  # points are drawn at random on both sides
