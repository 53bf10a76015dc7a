"""Many images of any size: each predicted into an OME-Zarr store, then scored and drawn.

predictions_masks/NAME.ome.zarr, or instances/NAME.ome.zarr and the files of its objects
predictions_overlays/NAME.png
confidence/NAME.ome.zarr, NAME.png  when asked for
work/NAME/                        what goes on after a stop
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..data.stores import ImageReadError, LabelStore, Source, create_labels, open_labels
from ..structures import Classes
from .beyond_memory import predict_to
from .confidence import ConfidenceFiles
from .estimate import estimate
from .inputs import Inputs
from .objects import DEFAULT, FoundObjects, ObjectOutputs
from .outputs import MASKS, Outputs
from .predict import Progress
from .running import Predicts
from .stored_answers import StoredClasses, StoredObjects
from .summary import Summary, Told, claim, summed_up, told_of
from .tiling import Tiling

WORK = "work"
TOLD = 8  # regions that could not be read


def predict_into_stores(
    inputs: Inputs,
    model: Predicts,
    output: Path,
    tiling: Tiling,
    *,
    workers: int = 0,
    made_by: Mapping[str, Any] | None = None,
    objects: Sequence[str] = DEFAULT,
    confidence: bool = False,
    overwrite: bool = False,
    expect: Callable[[str], None] | None = None,
    progress: Told | None = None,
) -> Summary:
    """Predict images one by one, none of which has to fit into memory.

    A run that was stopped goes on where it stood.

    Args:
        inputs: the images, see `find_inputs`.
        model: anything with `predict_samples`.
        output: the folder to write.
        tiling: tiles, in mode `sliding`.
        workers: processes beside this one.
        made_by: what identifies the model, such as a checkpoint's sha256; plain data.
        objects: formats for the objects of a model that answers with objects; a store holds the
            map, so `tif` is left out.
        confidence: whether to write how sure the model was of its classes, see `confidence`.
        overwrite: predict again what is done; an earlier run with other settings is removed.
        expect: called with what each image will take, before it is predicted.
        progress: called with the number of images done, and in all.

    Raises ValueError for impossible tilings or formats, and FileExistsError when `output` holds
    predictions of another run. What could not be read stands in the summary.
    """
    outputs = Outputs(Path(output))
    formats = ["zarr", *(one for one in objects if one != "tif")]
    files = ObjectOutputs(Path(output), inputs.images.classes, formats)
    claim(outputs, inputs, tiling.checked(), made_by, overwrite=overwrite)
    sure = ConfidenceFiles(Path(output))
    if overwrite:
        _clear(Path(output), inputs.names, files, sure)
    run = _Run(
        inputs,
        model,
        tiling,
        outputs,
        {"workers": workers, "made_by": made_by},
        StoredClasses(outputs, inputs.images.classes),
        StoredObjects(outputs, files),
        sure if confidence else None,
    )
    kept, errors = sum(map(outputs.drawn, inputs.names)), {}
    for item, name in enumerate(inputs.names):
        told = told_of(progress, item, len(inputs.names))
        try:
            lost = run.predict(item, expect, told)
        except (ImageReadError, ValueError) as error:
            lost = str(error)
        if lost:
            errors[name] = lost
        if told is not None:
            told(1, 1)
    files.finish(inputs.names)
    predicted = sum(map(outputs.drawn, inputs.names)) - kept
    pooled, rows, unscored = run.metrics()
    return summed_up(outputs, Summary(pooled, rows, predicted, kept, errors, unscored))


class _Run(NamedTuple):
    inputs: Inputs
    model: Predicts
    tiling: Tiling
    outputs: Outputs
    options: dict[str, Any]  # of `predict_to`
    classes: StoredClasses
    objects: StoredObjects
    confidence: ConfidenceFiles | None

    def predict(
        self, item: int, expect: Callable[[str], None] | None, progress: Progress | None
    ) -> str:
        """Predict, write, score and draw one image; return what of it could not be read."""
        images, name = self.inputs.images, self.inputs.names[item]
        source, record = images.source(item), images.records[item]
        store = self._store(name, source, expect)
        wanted = self.confidence
        sure = None if wanted is None else wanted.store(name, source, store.chunk)
        outcome = predict_to(
            source,
            self.model,
            store,
            work=self.outputs.folder / WORK / name,
            tiling=self.tiling,
            sure=sure,
            progress=progress,
            **self.options,
        )
        if wanted is not None and sure is not None:
            wanted.draw(name, source, sure)
        labels = open_labels(store.path)
        if outcome.objects is None:
            self.classes.conclude(name, source, labels, record, images.reading)
        else:
            kinds, scores = outcome.objects
            found = FoundObjects.stored(labels, kinds, scores, source.info.spacing)
            self.objects.conclude(name, source, found, record, images.reading)
        return _lost(outcome.failed)

    def metrics(self) -> tuple[dict[str, float], dict[str, dict[str, float]], dict[str, str]]:
        """Pooled, of each image with truth, and why others were not scored."""
        pooled: dict[str, float] = {}
        rows: dict[str, dict[str, float]] = {}
        for kind in (self.classes, self.objects):
            if kind.rows:
                pooled |= kind.evaluator.evaluate()
                rows |= kind.rows
        return pooled, rows, self.objects.unscored

    def _store(self, name: str, source: Source, expect: Callable[[str], None] | None) -> LabelStore:
        """The label image that a stopped run made, or a new one."""
        folder = self.outputs.folder / MASKS
        places = folder / f"{name}.ome.zarr", self.objects.files.path(name, "zarr")
        for place in places:
            if place.exists():
                return LabelStore(place)
        expected = estimate(source, self.model, self.tiling, self.options["workers"])
        if expect is not None:
            expect(f"{name}: {expected}")
        place = places[expected.objects]
        place.parent.mkdir(parents=True, exist_ok=True)
        dtype = "uint32" if expected.objects else _class_type(self.inputs.images.classes)
        info = source.info
        return create_labels(place, info.shape, spacing=info.spacing, dtype=dtype)


def _class_type(classes: Classes) -> str:
    return "uint8" if classes.num_classes <= 255 else "uint16"


def _lost(failed: Mapping[str, str]) -> str:
    """What could not be read, in a sentence."""
    if not failed:
        return ""
    told = "; ".join(f"{region}: {why}" for region, why in [*failed.items()][:TOLD])
    more = f"; and {len(failed) - TOLD} more" if len(failed) > TOLD else ""
    return f"{len(failed)} regions were not predicted: {told}{more}"


def _clear(output: Path, names: Sequence[str], files: ObjectOutputs, sure: ConfidenceFiles) -> None:
    """Remove what earlier runs wrote for these images."""
    files.clear(names)
    for name in names:
        sure.clear(name)
        for place in (output / MASKS / f"{name}.ome.zarr", output / WORK / name):
            shutil.rmtree(place, ignore_errors=True)
