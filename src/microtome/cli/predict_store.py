"""`microtome predict --store`: one image of any size, into OME-Zarr, tile by tile."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import refuse

if TYPE_CHECKING:
    from ..data.stores import LabelStore, Source
    from ..inference import Outcome, Tiling
    from ..models import Segmenter


def predict_store(model: Segmenter, given: argparse.Namespace, tiling: Tiling, made_by: str) -> int:
    """Predict, write labels and the files of objects, and report.

    Raises ValueError and OSError for what cannot be predicted, and ImageReadError for an image of
    which nothing can be read.
    """
    from ..data.stores import open_source
    from ..inference import estimate, predict_to
    from .speak import progress

    usage = model.usage
    source = open_source(
        given.input, spacing=given.spacing_um, levels=usage.levels, channels=usage.channels
    )
    expected = estimate(source, model, tiling, given.workers)
    print(f"{source.info.name}: {expected}")
    store = _store(given.output, source, model, objects=expected.objects)
    with progress("predicting") as bar:
        task = bar.add_task("")
        outcome = predict_to(
            source,
            model,
            store,
            work=given.output / "work" / source.info.name,
            tiling=tiling,
            workers=given.workers,
            made_by={"checkpoint": made_by},
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _tabulate(given, source, model, store, outcome)
    print(f"{store.path} is complete")
    for region, why in outcome.failed.items():
        refuse(f"{region} was not predicted: {why}")
    return 1 if outcome.failed else 0


def _store(output: Path, source: Source, model: Segmenter, *, objects: bool) -> LabelStore:
    """Make the label image, or open that of a run which was stopped."""
    from ..data.stores import LabelStore, create_labels
    from ..inference.outputs import INSTANCES, MASKS

    info = source.info
    path = output / (INSTANCES if objects else MASKS) / f"{info.name}.ome.zarr"
    if path.exists():
        return LabelStore(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    small = "uint8" if model.classes.num_classes <= 255 else "uint16"
    dtype = "uint32" if objects else small
    return create_labels(path, info.shape, spacing=info.spacing, dtype=dtype)


def _tabulate(
    given: argparse.Namespace,
    source: Source,
    model: Segmenter,
    store: LabelStore,
    outcome: Outcome,
) -> None:
    """Write the table of objects, and what else of `--objects` is not there yet."""
    from ..inference.objects import FoundObjects, ObjectOutputs

    found = outcome.objects
    if found is None:
        return
    name, spacing = source.info.name, source.info.spacing
    formats = ["zarr", *(f for f in given.objects.split(",") if f != "tif")]
    files = ObjectOutputs(given.output, model.classes, formats)
    files.write(name, FoundObjects.stored(store, found.labels, found.scores, spacing))
    files.finish([name])
