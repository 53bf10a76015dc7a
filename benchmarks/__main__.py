"""`python -m benchmarks [NAME …]`: time our code beside its peers, same work, same run.

Each benchmark is a module with `cases()`, `memory()` where memory is compared, and `growth()` where
time is followed over sizes; figures go to `benchmarks/results/NAME.json` and `NAME.md`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from .harness import SETTINGS, Probe, compare, limits, machine, markdown, share_of_limit

BENCHMARKS = (
    "boxes",
    "confusion",
    "sliding_window",
    "operators",
    "matching",
    "mask2former",
    "backbones",
)
RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> None:
    """Run some benchmarks, or all; settings of OpenMP hold from the start of a process only."""
    if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
        environment = {**os.environ, **SETTINGS}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *names], environment)
    for name in names or BENCHMARKS:
        if name not in BENCHMARKS:
            raise SystemExit(f"no benchmark {name!r}; there are: {', '.join(BENCHMARKS)}")
        report = run(name)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
        (RESULTS / f"{name}.md").write_text(markdown(report))
        print(markdown(report))


def run(name: str) -> dict:
    module = importlib.import_module(f".{name}", __package__)
    probe, able = Probe(), limits()
    rows = [compare(case, probe) for case in module.cases()]
    for row in rows:
        row["of_limit"] = share_of_limit(row, able)
    more = {k: list(getattr(module, k)()) for k in ("memory", "growth") if hasattr(module, k)}
    return {"machine": machine(), "limits": able, "cases": rows, **more}


if __name__ == "__main__":
    main(sys.argv[1:])
