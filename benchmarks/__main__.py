"""`python -m benchmarks [NAME …]`: time our code beside its peers, same work, same run.

Each benchmark is a module with `cases()`, `memory()` where memory is compared, and `growth()` where
time is followed over sizes, or what else `GROWTH` says. Figures go to
`benchmarks/results/NAME.json` and `NAME.md`, written again after every line, so that a run that
breaks off leaves what it had. With `BENCHMARKS=tiny` in the environment some take small sizes, to
see that they run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .harness import SETTINGS, Probe, compare, limits, machine, markdown, share_of_limit

BENCHMARKS = (
    "boxes",
    "labels",
    "confusion",
    "sliding_window",
    "stitching",
    "volumes",
    "operators",
    "matching",
    "mask2former",
    "dense_scenes",
    "backbones",
    "instance_metrics",
    "instances",
    "finetuning",
)
BY_SIZE = "Milliseconds by size, and the power of the size that they follow:"
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run some benchmarks, or all; settings of OpenMP hold from the start of a process only."""
    if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
        environment = {**os.environ, **SETTINGS}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]], environment)
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the figures")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    given.results.mkdir(parents=True, exist_ok=True)
    for name in given.names or BENCHMARKS:
        print(markdown(run(name, given.results)))


def run(name: str, results: Path) -> dict[str, Any]:
    """Run one benchmark, its figures so far in `results` after every line."""
    module = importlib.import_module(f".{name}", __package__)
    report: dict[str, Any] = {"machine": machine(), "limits": limits(), "cases": []}
    report["growth_is"] = getattr(module, "GROWTH", BY_SIZE)
    for kind, row in _rows(module, report["limits"]):
        report.setdefault(kind, []).append(row)
        (results / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
        (results / f"{name}.md").write_text(markdown(report))
    return report


def _rows(module: Any, able: dict[str, float]) -> Iterator[tuple[str, dict[str, Any]]]:
    probe = Probe()
    for case in module.cases():
        row = compare(case, probe)
        print(f"{row['case']}: {row['ratio']:.2f}x", file=sys.stderr)
        yield "cases", {**row, "of_limit": share_of_limit(row, able)}
    for kind in ("growth", "memory"):
        for row in getattr(module, kind, tuple)():
            print(f"{row['case']}: {kind}", file=sys.stderr)
            yield kind, row


if __name__ == "__main__":
    main()
