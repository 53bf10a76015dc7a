"""Paired timing: ours and the peer in turn, in one process, on the same input.

A sample counts only when a small matrix product before and after it ran nearly as fast as ever:
other work on the machine spoils timings, and more so those with many threads. What the machine can
do (copies, reads in its caches, matrix products, sorts) is measured in the same run.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

# Threads that wait by spinning take the processor from those that work; before OpenMP starts.
SETTINGS = {"GOMP_SPINCOUNT": "0"}
DISTURBED = 1.35  # times its best
TINY = os.environ.get("BENCHMARKS") == "tiny"  # small sizes, to see that all of it runs
PATIENCE = 1 if TINY else 8  # tries per sample that counts
SECONDS = 90  # after which a case takes the samples that there are


class Case(NamedTuple):
    """One comparison. `check` asserts that both did the same work before anything is timed.

    `work` is what the work amounts to, by the limit of the machine that bounds it: bytes moved for
    `copy`, bytes for `cached` reads, operations for `matmul`, numbers for `sort`.
    """

    name: str
    ours: Callable[[], Any]
    peer_name: str
    peer: Callable[[], Any]
    check: Callable[[Any, Any], None]
    work: dict[str, float] = {}


class Sample(NamedTuple):
    """Seconds of wall clock and of processors, and how disturbed the machine was beside it."""

    wall: float
    cpu: float
    disturbance: float


class Probe:
    """A matrix product of some milliseconds, whose best time is that of the machine at rest."""

    def __init__(self) -> None:
        self.a = torch.rand(768, 768)
        self.best = min(self._seconds() for _ in range(20))

    def disturbance(self) -> float:
        seconds = self._seconds()
        self.best = min(self.best, seconds)
        return seconds / self.best

    def _seconds(self) -> float:
        start = time.perf_counter()
        self.a @ self.a
        return time.perf_counter() - start


def compare(case: Case, probe: Probe, runs: int = 2 if TINY else 7) -> dict[str, Any]:
    """Time both in turn; the ratio is the median of the paired ratios (above 1: ours is faster)."""
    case.check(case.ours(), case.peer())
    pairs: list[tuple[Sample, Sample]] = []
    spoilt: list[tuple[Sample, Sample]] = []
    patience, end = PATIENCE * runs, time.perf_counter() + SECONDS
    while len(pairs) < runs and len(spoilt) < patience:
        pair = _sample(case.ours, probe), _sample(case.peer, probe)
        quiet = max(s.disturbance for s in pair) <= DISTURBED
        (pairs if quiet else spoilt).append(pair)
        if time.perf_counter() > end:
            break
    valid = len(pairs)
    if valid < runs:  # said in the report: better than nothing, no measurement
        spoilt.sort(key=lambda pair: max(s.disturbance for s in pair))
        pairs += spoilt[: runs - valid]
    ours, peers = zip(*pairs, strict=True)
    return {
        "case": case.name,
        "peer": case.peer_name,
        **_times("ours", ours),
        **_times("peer", peers),
        "ratio": statistics.median(p.wall / o.wall for o, p in pairs),
        "cpu_ratio": statistics.median(p.cpu / o.cpu for o, p in pairs),
        "runs": len(pairs),
        "undisturbed": valid,
        "discarded": len(spoilt),
        "load": os.getloadavg()[0],
        "work": case.work,
    }


def _sample(work: Callable[[], Any], probe: Probe) -> Sample:
    before = probe.disturbance()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Sample(wall, cpu, max(before, probe.disturbance()))


def _times(who: str, samples: tuple[Sample, ...]) -> dict[str, float]:
    walls = [s.wall for s in samples]
    return {
        f"{who}_ms": 1e3 * statistics.median(walls),
        f"{who}_min_ms": 1e3 * min(walls),
        f"{who}_cpu_per_wall": statistics.median(s.cpu / s.wall for s in samples),
    }


def machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
        "settings": {name: os.environ.get(name, "") for name in SETTINGS},
    }


def limits() -> dict[str, float]:
    """What the machine does in a second: bytes copied, bytes read in cache, operations, sorts."""
    big = torch.rand(2**24)
    to = torch.empty_like(big)
    a = torch.rand(2048, 2048)
    cached = torch.rand(2**16).expand(256, -1)  # 256 KiB, read 256 times
    few = torch.rand(20_000)
    return {
        "copy": 2 * big.nbytes / _best(lambda: to.copy_(big)),
        "cached": 4 * cached.numel() / _best(lambda: cached.sum(1)),
        "matmul": 2 * 2048**3 / _best(lambda: a @ a),
        "sort": len(few) / _best(lambda: few.sort(descending=True)),
    }


def share_of_limit(row: dict[str, Any], limit: dict[str, float]) -> dict[str, float]:
    """Which part of our time the machine would need at its limits."""
    seconds = row["ours_ms"] / 1e3
    return {kind: amount / limit[kind] / seconds for kind, amount in row["work"].items()}


def peak_memory(code: str) -> int:
    """Bytes above what it held that `work()` takes at its peak, in a child; `code` defines it.

    Linux: what was freed before is given back, and the peak begins anew. Of tiny sizes nothing is
    measured: they run in this process, without the seconds that a child needs to import.
    """
    if TINY:
        scope: dict[str, Any] = {}
        exec(code, scope)
        scope["work"]()
        return 1
    script = (
        f"{code}\nimport ctypes, gc\nfrom pathlib import Path\n"
        "def held(what):\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith(what))\n"
        "gc.collect()\nctypes.CDLL(None).malloc_trim(0)\n"
        "Path('/proc/self/clear_refs').write_text('5')\n"
        "before = held('VmRSS')\nwork()\nprint((held('VmHWM') - before) * 1024)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    if told.returncode:
        raise RuntimeError(f"the child that measures memory ended so:\n{told.stderr[-2000:]}")
    return int(told.stdout.split()[-1])


def markdown(report: dict[str, Any]) -> str:
    """The tables of a report, a line per case, and the machine."""
    heading = "| | ours, ms | peer | peer, ms | ratio | cpu ratio | of the limit | undisturbed |"
    lines = [heading, "|---" * 8 + "|"] if report["cases"] else []
    for row in report["cases"]:
        shares = ", ".join(f"{100 * s:.0f} % {kind}" for kind, s in row["of_limit"].items())
        lines.append(
            f"| {row['case']} | {row['ours_ms']:.2f} | {row['peer']} | {row['peer_ms']:.2f} "
            f"| {row['ratio']:.2f}x | {row['cpu_ratio']:.2f}x | {shares} "
            f"| {row['undisturbed']} of {row['runs']} |"
        )
    if report.get("memory"):
        lines += ["", "Peak memory beyond what was held before, in MB; parameters in millions:"]
        lines += ["", *_table(report["memory"], 1e6)]
    if report.get("growth"):
        lines += ["", report["growth_is"]]
        lines += ["", *_table(report["growth"], 1)]
    about = report["machine"]
    limit = ", ".join(f"{kind} {amount / 1e9:.3g} G/s" for kind, amount in report["limits"].items())
    lines.append(
        f"\n{about['processor']}, {about['threads']} threads, {about['instructions']}, "
        f"torch {about['torch']}; limits: {limit}"
    )
    return "\n".join(lines).lstrip() + "\n"


def _table(rows: list[dict[str, Any]], unit: float) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row if name != "case"))
    lines = [f"| | {' | '.join(n.replace('_', ' ') for n in names)} |", "|---" * (len(names) + 1)]
    lines[1] += "|"
    for row in rows:
        lines.append(f"| {row['case']} | {' | '.join(_told(row.get(n), unit) for n in names)} |")
    return lines


def _told(value: float | str | None, unit: float) -> str:
    return f"{value / unit:.2f}" if isinstance(value, int | float) else value or ""


def _best(work: Callable[[], Any], tries: int = 9) -> float:
    seconds = []
    for _ in range(tries):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
