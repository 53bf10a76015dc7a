"""From parameter groups to an optimiser, its fused kernels where there are some."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from .groups import Groups

MakeOptimizer = Callable[[Iterable[Any]], Optimizer]

FUSED = {"cpu", "cuda"}  # devices whose fused kernels are tested


def build_optimizer(make: MakeOptimizer, groups: Groups) -> Optimizer:
    """Call `make` with the groups, then give each its part of the base rate.

    Unless the config says `fused` or `foreach` itself, an optimiser that has fused kernels uses
    them. They are switched on group by group: with the constructor's `fused=True` Lightning
    refuses to clip gradients in fp16, though here gradients are unscaled before.
    """
    optimizer = make(groups)
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * group["lr_factor"]
        if "fused" in group and group["fused"] is None and not group.get("foreach"):
            group["fused"] = all(_has_kernels(p) for p in group["params"])
    return optimizer


def in_words(optimizer: Optimizer) -> list[str]:
    """Lines for the log: what learns at which rate, the layers of a backbone in one line."""
    first = optimizer.param_groups[0]
    fused = ", fused" if first.get("fused") else ""
    lines = [f"{type(optimizer).__name__}{fused}, {_count(len(optimizer.param_groups), 'group')}"]
    merged: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for group in optimizer.param_groups:
        part = group["name"].split()[0].rstrip(",")
        merged.setdefault((part, group.get("weight_decay", 0.0)), []).append(group)
    for (part, decay), groups in merged.items():
        params = [p for group in groups for p in group["params"]]
        rates = sorted(group["lr"] for group in groups)
        span = " to ".join(f"{rate:.2e}" for rate in dict.fromkeys((rates[0], rates[-1])))
        lines.append(
            f"{part:<9} {len(params):>4} tensors, {sum(p.numel() for p in params) / 1e6:.3f} M, "
            f"rate {span}, " + (f"decay {decay:g}" if decay else "no decay")
        )
    return lines


def _has_kernels(p: torch.Tensor) -> bool:
    return p.device.type in FUSED and p.is_floating_point() and not p.is_sparse


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
