"""`microtome inspect`: open every file of a data set and report all problems at once."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from . import refuse
from .compose import ComposeError, compose

DESCRIPTION = """Opens every image, mask and label map and reports all problems at once: missing,
unreadable, of another shape, values outside the classes, groups in two splits. DATA is a manifest
(.json) or the config of a run (a path, or the name of a packaged one). Exit code 1 when training
would refuse to start."""


def main(verb: str, args: list[str]) -> int:
    """Inspect and print; optionally write the report as JSON."""
    parser = argparse.ArgumentParser(prog=f"microtome {verb}", description=DESCRIPTION)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="change the config")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the report as JSON")
    given = parser.parse_intermixed_args(args)
    try:
        config = _config(given.data, given.overrides)
    except ComposeError as error:
        return refuse(str(error))
    return _inspect(config, given.output)


def _config(data: str, overrides: list[str]) -> dict[str, object]:
    if not data.endswith(".json"):
        return {"data": compose(data, overrides).get("data")}
    settings = {"manifest": data}
    return {"data": {"class_path": "microtome.data.datamodule.ManifestData", "init_args": settings}}


def _inspect(config: dict[str, object], output: Path | None) -> int:
    from ..files import whole
    from ..training.parser import ConfigError, build_data
    from .speak import progress

    try:
        data = build_data(config)
    except ConfigError as error:
        return refuse(str(error))
    with progress("opening files") as bar:
        task = bar.add_task("", total=None)
        report = data.inspect(lambda done, total: bar.update(task, completed=done, total=total))
    print(report.text())
    if output is not None:
        try:
            with whole(output) as part:
                part.write_text(json.dumps(report.as_dict(), indent=1) + "\n")
        except OSError as error:
            return refuse(f"the report cannot be written: {error}")
    return 1 if report.problems else 0
