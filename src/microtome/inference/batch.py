"""Many images: predict, write, score; what cannot be read is reported at the end.

Besides `predictions_masks/` and `predictions_overlays/`, the output folder receives

    metrics.json   {"pooled": {...}, "images": {NAME: {...}}}, when there are images with truth
    errors.json    {NAME: reason}, when an image failed
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

from ..data.stores import ImageReadError, Source
from ..data.truth import read_truth
from ..evaluation import Evaluator, overlay
from ..structures import Segmentation
from .inputs import Inputs
from .outputs import Outputs
from .predict import Progress
from .preview import preview
from .running import Predicts
from .tiling import Tiling

SLIDING = Tiling()
Told = Callable[[float, int], None]  # (images done, with the part of the present one; in all)


class Summary(NamedTuple):
    """What came of it.

    Attributes:
        metrics: over the pixels of all images with truth; empty when there are none.
        images: the metrics of each such image.
        predicted: how many images were predicted now.
        kept: how many had been predicted before.
        errors: for each image that failed, why.
    """

    metrics: dict[str, float]
    images: dict[str, dict[str, float]]
    predicted: int
    kept: int
    errors: dict[str, str]


def predict_files(
    inputs: Inputs,
    model: Predicts,
    output: Path,
    tiling: Tiling = SLIDING,
    *,
    made_by: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Told | None = None,
) -> Summary:
    """Predict images one by one and write masks, overlays and metrics.

    Images that are done already are kept, and scored from what was written, so that a killed run
    goes on where it stood. One image at a time is in memory.

    Args:
        inputs: the images, see `find_inputs`.
        model: anything with `predict_samples`.
        output: the folder to write.
        tiling: tiles or resizing.
        made_by: what identifies the model, such as a checkpoint's sha256; plain data.
        overwrite: predict again what is done; an earlier run with other settings is removed.
        progress: called with the number of images done, and in all.

    Raises ValueError for impossible tilings and FileExistsError when `output` holds predictions
    of another run. Images that cannot be read or do not fit the model stand in the summary.
    """
    images, outputs = inputs.images, Outputs(Path(output))
    paths = {
        name: str(record.image.absolute())
        for name, record in zip(inputs.names, images.records, strict=True)
    }
    outputs.claim(_settings(inputs, tiling.checked(), made_by), paths, overwrite=overwrite)
    run = _Run(inputs, model, outputs, tiling, Evaluator(images.classes))
    kept, errors = {name for name in inputs.names if outputs.has(name)}, {}
    for item, name in enumerate(inputs.names):
        told = None if progress is None else partial(_tell, progress, item, len(inputs.names))
        try:
            run.score_again(item) if name in kept else run.predict(item, told)
        except (ImageReadError, ValueError) as error:
            errors[name] = str(error)
        if told is not None:
            told(1, 1)
    pooled = run.evaluator.evaluate() if run.evaluator.rows else {}
    rows = dict(run.evaluator.rows)
    scored = {"pooled": _plain(pooled), "images": {n: _plain(r) for n, r in rows.items()}}
    outputs.write_json("metrics.json", scored if rows else {})
    outputs.write_json("errors.json", errors)
    predicted = sum(outputs.has(name) for name in inputs.names) - len(kept)
    return Summary(pooled, rows, predicted, len(kept), errors)


class _Run(NamedTuple):
    inputs: Inputs
    model: Predicts
    outputs: Outputs
    tiling: Tiling
    evaluator: Evaluator

    def predict(self, item: int, progress: Progress | None) -> None:
        """Predict one image and write everything; a truth that cannot be read does not stop it."""
        source, name = self.inputs.images.source(item), self.inputs.names[item]
        classes = self.tiling.predict(source, self.model, progress).classes
        assert classes is not None
        self.outputs.write_classes(name, classes, source.info.spacing)
        truth, wrong = None, None
        try:
            truth = self._score(item, classes)
        except (ImageReadError, ValueError) as error:
            wrong = error
        self.outputs.write_overlay(name, self._picture(name, source, classes, truth))
        if wrong is not None:
            raise wrong

    def score_again(self, item: int) -> None:
        """Score an image from the mask that was written before."""
        if self.inputs.images.records[item].has_truth:
            self._score(item, self.outputs.read_classes(self.inputs.names[item]))

    def _score(self, item: int, classes: Tensor) -> Tensor | None:
        images = self.inputs.images
        shape = tuple(classes.shape)
        truth = read_truth(images.records[item], shape, images.classes, images.reading)
        if truth is None:
            return None
        self.evaluator.process([Segmentation(classes)], [truth], [self.inputs.names[item]])
        return truth.classes

    def _picture(
        self, name: str, source: Source, classes: Tensor, truth: Tensor | None
    ) -> Image.Image:
        small = preview(source)
        title = name
        if truth is not None:
            own = self.evaluator.rows[-1][1]
            title += f"   mIoU {own['miou']:.3f}   Dice {own['mean_dice']:.3f}"
        return overlay(
            small.image,
            small.shrunk(classes),
            self.inputs.images.classes,
            title,
            None if truth is None else small.shrunk(truth),
            small.spacing,
        )


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
