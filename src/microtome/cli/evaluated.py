"""What `microtome evaluate` is given to score: images with their results and truths."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..data.datasets import SampleDataset
from ..data.image_dataset import ManifestDataset
from ..data.stores import ArraySource, ImageReadError
from ..evaluation import (
    DatasetEvaluator,
    InstanceEvaluator,
    OtsuWatershed,
    SurfaceEvaluator,
    evaluator_of,
)
from ..evaluation.coco_pairs import CocoPairs
from ..evaluation.judging import Judged
from ..evaluation.label_pairs import LabelPair, label_pairs
from ..inference import Predicts, Tiling
from ..models import checkpoint_in, load_segmenter
from ..structures import Classes, Segmentation
from .asked import asked
from .compose import compose
from .own_data import own_split, split_of
from .predict import device_called

log = logging.getLogger("microtome")

LISTED = 5  # names in a refusal


class Work(NamedTuple):
    """What is to be scored: by whom, how many images, the images, and what they are."""

    evaluator: DatasetEvaluator[Any]
    total: int
    images: Iterator[Judged]
    about: dict[str, Any]


def work_of(given: argparse.Namespace, errors: dict[str, str]) -> Work:
    """Open what the command line says; nothing is scored yet.

    Args:
        given: the arguments of the verb.
        errors: receives, while images are scored, those that could not be read, and why.

    Raises ValueError, or what reading raises, for what cannot be scored.
    """
    if given.predictions is None:
        return _answers(given, errors)
    about = {"predictions": str(given.predictions), "truth": str(given.truth)}
    if given.predictions.suffix == ".json":
        coco = CocoPairs.read(given.predictions, given.truth)
        judge = _evaluator(given, coco.classes, objects=True)
        return Work(judge, len(coco.true.images), coco.judged(), about)
    objects = given.task == "instance"
    if objects:
        classes = Classes(("background", "object"), things=(False, True))
    else:
        names = tuple(given.class_names.split(","))
        classes = Classes(names, ignore_index=given.ignore_index).checked()
    judge = _evaluator(given, classes, objects=objects)
    pairs = label_pairs(given.predictions, given.truth)
    _check_spacing(given, pairs)
    return Work(judge, len(pairs), (p.judged(objects=objects) for p in pairs), about)


def _evaluator(
    given: argparse.Namespace, classes: Classes, *, objects: bool
) -> DatasetEvaluator[Any]:
    """Raises ValueError for options of the other kind of results."""
    if objects:
        if given.surface_tolerance is not None:
            raise ValueError("--surface_tolerance compares class maps, and these are objects")
        return InstanceEvaluator(classes, cap=given.cap)
    if given.cap is not None:
        raise ValueError("--cap counts detections, and these are class maps")
    if given.surface_tolerance is None:
        return evaluator_of(classes, objects=False)
    if not classes.exclusive:
        raise ValueError("--surface_tolerance is for classes that exclude each other")
    said = given.spacing_um
    spacing = said[0] if said is not None and len(said) == 1 else said
    return SurfaceEvaluator(classes, given.surface_tolerance, spacing)


def _check_spacing(given: argparse.Namespace, pairs: Sequence[LabelPair]) -> None:
    if given.surface_tolerance is None or given.spacing_um is not None:
        return
    if unknown := [pair.name for pair in pairs if pair.spacing is None]:
        more = f" and {len(unknown) - LISTED} more" if len(unknown) > LISTED else ""
        raise ValueError(
            f"--surface_tolerance is in µm, and the spacing of {', '.join(unknown[:LISTED])}{more} "
            "is not known: give --spacing_um (1 to count in pixels)"
        )


def _answers(given: argparse.Namespace, errors: dict[str, str]) -> Work:
    """Of a model, or of a baseline, on a split."""
    data = _split(given)
    about = {"data": given.data or "that of the checkpoint", "split": given.split}
    objects = given.task == "instance"
    if given.baseline:
        judge = _evaluator(given, data.classes, objects=objects)
        images = _predicted(data, _baseline(given, data.classes), None, errors)
        images = images if objects else _pixels(images)
        return Work(judge, len(data), images, {"model": given.baseline, **about})
    model = load_segmenter(given.ckpt_path, weights=given.weights)
    model = model.to(device_called(given.device))
    if model.classes.num_classes != data.classes.num_classes:
        raise ValueError(
            f"the data has {data.classes.num_classes} classes {data.classes.names}, the model "
            f"{model.classes.num_classes} {model.classes.names}"
        )
    usage = model.usage
    tiling = Tiling(usage.mode, usage.tile, usage.overlap, given.batch_size).checked()
    objects = objects and not model.head.scored
    judge = _evaluator(given, model.classes, objects=objects)
    predicts, told = asked(model, given)
    images = _predicted(data, predicts, tiling, errors)
    images = images if objects else _pixels(images)
    return Work(judge, len(data), images, {"model": str(given.ckpt_path), **about, **told})


def _baseline(given: argparse.Namespace, classes: Classes) -> OtsuWatershed:
    """Which calls every object by the first class that is counted."""
    things = [i for i, counted in enumerate(classes.things) if counted] or [1]
    if len(things) > 1:
        log.warning(
            "%s calls every object %s, for it tells no classes apart: read its numbers of `any "
            "class`, or give one class of `things`",
            given.baseline,
            classes.names[things[0]],
        )
    return OtsuWatershed(given.foreground, given.radius, things[0])


def _split(given: argparse.Namespace) -> SampleDataset:
    """The images to score: of a manifest, a config, or the data a checkpoint was trained on."""
    if given.data is None:
        data = own_split(checkpoint_in(given.ckpt_path), given.split)
    elif given.data.endswith(".json"):
        data = ManifestDataset(given.data, given.split)
    else:
        data = split_of(compose(given.data, []), given.split)
    if not len(data):
        raise ValueError(f"--split: {given.split} is empty")
    return data


def _predicted(
    data: SampleDataset, model: Predicts, tiling: Tiling | None, errors: dict[str, str]
) -> Iterator[Judged]:
    """Every image with its truth and what the model says, in tiles or as a whole."""
    for item in range(len(data)):
        try:
            sample = data.load(item)
        except ImageReadError as error:
            errors[f"image {item}"] = str(error)
            continue
        name = str(sample.meta.get("name", item))
        if sample.truth is None:
            errors[name] = "there is no truth to compare with"
            continue
        if tiling is None:
            result = model.predict_samples([sample])[0]
        else:
            result = tiling.predict(ArraySource.from_sample(sample), model)
        yield Judged(name, result, sample.truth, sample.image, sample.spacing)


def _pixels(images: Iterator[Judged]) -> Iterator[Judged]:
    """Classes of pixels alone: of results and truths that hold only objects, these are merged."""
    for one in images:
        found, true = one.result, one.truth.with_classes().classes
        found = found if found.scores is not None else found.with_classes()
        found = Segmentation(found.classes, scores=found.scores)
        yield one._replace(result=found, truth=Segmentation(true))
