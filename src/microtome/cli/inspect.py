"""`microtome inspect`: open every file of a data set and report all problems at once."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import refuse
from .compose import ComposeError, compose

if TYPE_CHECKING:
    from ..data.inspection import Report

DESCRIPTION = """Opens every image, mask and label map and reports all problems at once: missing,
unreadable, of another shape, values outside the classes, groups in two splits. DATA is a manifest
(.json) or the config of a run (a path, or the name of a packaged one). Exit code 1 when training
would refuse to start. With --pictures also draws training samples as the config's transforms make
them."""
DRAWN = 12  # training samples


def main(verb: str, args: list[str]) -> int:
    """Inspect and print; optionally write the report as JSON."""
    parser = argparse.ArgumentParser(prog=f"microtome {verb}", description=DESCRIPTION)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="change the config")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the report as JSON")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw training samples there")
    given = parser.parse_intermixed_args(args)
    if given.pictures and given.data.endswith(".json"):
        return refuse(
            "--pictures draws what a config's transforms make: give a config, not a .json"
        )
    try:
        config = None if given.data.endswith(".json") else compose(given.data, given.overrides)
    except ComposeError as error:
        return refuse(str(error))
    status = _inspect(given.data, config, given.output)
    if given.pictures and config is not None and status == 0:
        return _draw(config, given.pictures)
    return status


def _inspect(data: str, config: dict[str, Any] | None, output: Path | None) -> int:
    from ..data.records import ManifestError
    from ..files import whole
    from ..training.parser import ConfigError, build_data
    from ..training.queries import too_few_queries
    from .speak import progress

    try:
        look = (
            _manifest(data) if config is None else build_data({"data": config.get("data")}).inspect
        )
    except (ConfigError, ManifestError) as error:
        return refuse(str(error))
    with progress("opening files") as bar:
        task = bar.add_task("", total=None)
        report = look(progress=lambda done, total: bar.update(task, completed=done, total=total))
    print(report.text())
    if few := too_few_queries(config or {}, report):
        print(f"\nwarning: {few}")
    if output is not None:
        try:
            with whole(output) as part:
                part.write_text(json.dumps(report.as_dict(), indent=1) + "\n")
        except OSError as error:
            return refuse(f"the report cannot be written: {error}")
    return 1 if report.problems else 0


def _draw(config: dict[str, Any], folder: Path) -> int:
    """Draw the first training samples of the first epoch, as the run's seed makes them."""
    from ..data.sampling import Draw
    from ..evaluation import overlay
    from ..files import whole
    from ..training.parser import build_data

    data = build_data({"data": config.get("data")})
    train = data.splits["train"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for item in range(min(DRAWN, data.crops)):
            sample = train[Draw(0, item)]
            truth = None if sample.truth is None else sample.truth.with_classes().classes
            name = str(sample.meta.get("name", item))
            picture = overlay(sample.image, None, data.classes, name, truth, sample.spacing)
            with whole(folder / f"train_{item:02d}.png") as part:
                picture.save(part)
    except (ValueError, OSError) as error:
        return refuse(f"--pictures: {error}")
    print(f"training samples are drawn in {folder}")
    return 0


def _manifest(path: str) -> Callable[..., Report]:
    """What inspects the splits that a manifest has; one for testing only is a manifest too."""
    from ..data.image_dataset import ImageDataset
    from ..data.inspection import inspect
    from ..data.manifest import read_manifest

    classes, splits, reading = read_manifest(path)
    data = {name: ImageDataset(rows, classes, reading) for name, rows in splits.items() if rows}
    return partial(inspect, data, classes)
