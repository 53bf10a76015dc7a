"""Paired timing: ours and the peer in turn, in one process, on the same input."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch


class Case(NamedTuple):
    """One comparison. `check` asserts that both did the same work before anything is timed."""

    name: str
    ours: Callable[[], Any]
    peer_name: str
    peer: Callable[[], Any]
    check: Callable[[Any, Any], None]


def compare(case: Case, runs: int = 7) -> dict[str, Any]:
    """Time both in turn; the ratio is the median of the paired ratios (above 1: ours is faster)."""
    case.check(case.ours(), case.peer())
    pairs = [(_seconds(case.ours), _seconds(case.peer)) for _ in range(runs)]
    ours, peers = zip(*pairs, strict=True)
    return {
        "case": case.name,
        "peer": case.peer_name,
        "ours_ms": 1e3 * statistics.median(ours),
        "ours_min_ms": 1e3 * min(ours),
        "peer_ms": 1e3 * statistics.median(peers),
        "peer_min_ms": 1e3 * min(peers),
        "ratio": statistics.median(p / o for o, p in pairs),
        "runs": runs,
    }


def machine() -> dict[str, Any]:
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
