"""What came of predicting many images, and how it is told: metrics, errors, progress.

metrics.json   {"pooled": {...}, "images": {NAME: {...}}}, when there are images with truth, and
               {"not_scored": {NAME: reason}} of those with truth that were not scored
errors.json    {NAME: reason}, when an image failed
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..data.stores.places import absolute
from .inputs import Inputs
from .outputs import Outputs
from .predict import Progress
from .tiling import Tiling

Told = Callable[[float, int], None]  # (images done, with the part of the present one; in all)


class Summary(NamedTuple):
    """What came of it.

    Attributes:
        metrics: over the pixels or objects of all images with truth; empty when there are none.
        images: the metrics of each such image.
        predicted: how many images were predicted now.
        kept: how many had been predicted before.
        errors: for each image that failed, why.
        unscored: for each image with truth that was not scored, why.
    """

    metrics: dict[str, float]
    images: dict[str, dict[str, float]]
    predicted: int
    kept: int
    errors: dict[str, str]
    unscored: dict[str, str] = {}


def claim(
    outputs: Outputs,
    inputs: Inputs,
    tiling: Tiling,
    made_by: Mapping[str, Any] | None,
    *,
    overwrite: bool,
) -> None:
    """Write down which run an output folder holds; see `Outputs.claim`."""
    paths = {
        name: absolute(record.image)
        for name, record in zip(inputs.names, inputs.images.records, strict=True)
    }
    outputs.claim(_settings(inputs, tiling, made_by), paths, overwrite=overwrite)


def summed_up(outputs: Outputs, summary: Summary) -> Summary:
    """Write the metrics and errors of a run."""
    rows = {name: _plain(row) for name, row in summary.images.items()}
    scored: dict[str, Any] = {"pooled": _plain(summary.metrics), "images": rows} if rows else {}
    if summary.unscored:
        scored["not_scored"] = summary.unscored
    outputs.write_json("metrics.json", scored)
    outputs.write_json("errors.json", summary.errors)
    return summary


def told_of(progress: Told | None, item: int, images: int) -> Progress | None:
    """What the work on one of many images calls with (done, steps)."""
    return None if progress is None else partial(_tell, progress, item, images)


def _settings(inputs: Inputs, tiling: Tiling, made_by: Mapping[str, Any] | None) -> dict[str, Any]:
    """What predictions depend on; the size of batches is not among it."""
    reading = inputs.images.reading
    settings = {k: v for k, v in tiling._asdict().items() if k != "batch_size"}
    settings |= {k: getattr(reading, k) for k in ("channels", "levels", "spacing")}
    return settings | {"classes": inputs.images.classes.names, "made_by": made_by or {}}


def _tell(progress: Told, item: int, images: int, done: int, tiles: int) -> None:
    progress(item + done / tiles, images)


def _plain(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """JSON knows no nan."""
    return {key: None if math.isnan(value) else value for key, value in metrics.items()}
