"""`python -m benchmarks [NAME …]`: time our code beside its peers, same work, same run.

Each benchmark is a module with `cases()`; figures go to `benchmarks/results/NAME.json`.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from .harness import compare, machine

BENCHMARKS = ("boxes", "confusion", "sliding_window")
RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> None:
    for name in names or BENCHMARKS:
        if name not in BENCHMARKS:
            raise SystemExit(f"no benchmark {name!r}; there are: {', '.join(BENCHMARKS)}")
        rows = [compare(case) for case in importlib.import_module(f".{name}", __package__).cases()]
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(
            json.dumps({"machine": machine(), "cases": rows}, indent=1) + "\n"
        )
        for row in rows:
            print(
                f"{row['case']:<44} ours {row['ours_ms']:9.2f} ms   {row['peer']} "
                f"{row['peer_ms']:9.2f} ms   {row['ratio']:6.2f}x"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
