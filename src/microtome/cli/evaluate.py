"""`microtome evaluate`: all metrics of a model on a split, or of label maps of any program."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import refuse

if TYPE_CHECKING:
    from ..data.datasets import SampleDataset
    from ..evaluation import DatasetEvaluator
    from ..evaluation.findings import Findings
    from ..evaluation.judging import Judged
    from ..inference import Predicts, Tiling

DESCRIPTION = """Scores results against truths. Either a checkpoint on a split of its data, or of
other data: --ckpt_path FILE [--data DATA]. Or a baseline that learns nothing: --baseline
otsu_watershed --data DATA. Or label maps of any program, paired by name with those of the truth:
--predictions DIR --truth DIR. Prints a table; with --output also writes metrics.json with bootstrap
intervals, metrics.csv by class, size and image, and index.html with pictures of the best and worst
images. Exit code 1 when some images could not be read, 2 when nothing was scored."""
DATA = "a manifest (.json) or a config with `data`; of a checkpoint its own when not given"
CAP = "detections of an image and class that count for COCO's AP (default: all)"
HEADLINES = ("pq", "ap_dsb@0.5", "aji", "coco_ap50", "miou", "mean_dice")


class Work(NamedTuple):
    """What is to be scored: by whom, how many images, the images, and what they are."""

    evaluator: DatasetEvaluator[Any]
    total: int
    images: Iterator[Judged]
    about: dict[str, Any]


def main(verb: str, args: list[str]) -> int:
    """Parse, score, report."""
    given = _parser(verb).parse_args(args)
    if wrong := _mistakes(given):
        return refuse("; ".join(wrong))
    from ..data.records import ManifestError
    from ..data.stores import ImageReadError
    from ..evaluation.findings import Findings
    from ..evaluation.judging import Album, judge
    from ..evaluation.report import write_report
    from ..files import CorruptFileError
    from ..training.parser import ConfigError
    from .compose import ComposeError
    from .speak import progress

    errors: dict[str, str] = {}
    refusals = (ValueError, OSError, ImageReadError, CorruptFileError)
    try:
        work = _label_maps(given) if given.predictions else _answers(given, errors)
        album = Album(work.evaluator)
        with progress("evaluating") as bar:
            images = bar.track(work.images, total=work.total)
            judge(work.evaluator, images, None if given.output is None else album)
        if not work.evaluator.rows:
            raise ValueError("no image was scored: " + "; ".join(errors.values()))
        findings = Findings.of(work.evaluator, work.about, given.draws)
        if given.output is not None:
            write_report(given.output, findings, album)
    except (*refusals, ConfigError, ComposeError, ManifestError) as error:
        return refuse(str(error))
    _report(findings, work.evaluator, given.output)
    for name, reason in errors.items():
        refuse(f"{name} failed: {reason}")
    return 1 if errors else 0


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"microtome {verb}", description=DESCRIPTION)
    add = parser.add_argument
    add("--ckpt_path", metavar="FILE", help="a checkpoint, or a folder")
    add("--baseline", choices=("otsu_watershed",), help="threshold, then watershed of distances")
    add("--data", metavar="DATA", help=DATA)
    add("--split", default="val", help="train, val or test (default: val)")
    add("--predictions", type=Path, metavar="DIR", help="label maps")
    add("--truth", type=Path, metavar="DIR", help="label maps of the same names")
    add("--task", choices=("instance", "semantic"), default="instance", help="what maps hold")
    add("--class_names", metavar="A,B,C", help="of --task semantic, from 0 on")
    add("--ignore_index", type=int, default=255, help="of --task semantic (default: 255)")
    add("--output", type=Path, metavar="DIR", help="where to write tables and pictures")
    add("--foreground", choices=("bright", "dark"), default="bright", help="of --baseline")
    add("--radius", type=float, default=5, help="pixels, of the smallest objects, of --baseline")
    add("--cap", type=int, metavar="N", help=CAP)
    add("--draws", type=int, default=1000, metavar="N", help="of the bootstrap (default: 1000)")
    add("--batch_size", type=int, default=4, metavar="N", help="tiles at once (default: 4)")
    add("--weights", metavar="FILE|DIR", help="where the file of a frozen encoder is")
    add("--device", default="auto", help="cpu, cuda, cuda:0, mps (default: the best there is)")
    return parser


def _mistakes(given: argparse.Namespace) -> list[str]:
    """What does not go together."""
    wrong = []
    ways = [given.ckpt_path, given.baseline, given.predictions or given.truth]
    if sum(way is not None for way in ways) != 1:
        wrong.append("give one of --ckpt_path, --baseline, and --predictions with --truth")
    if (given.predictions is None) != (given.truth is None):
        wrong.append("--predictions and --truth go together")
    if given.baseline and not given.data:
        wrong.append("--baseline needs --data")
    if given.predictions and given.task == "semantic" and not given.class_names:
        wrong.append("--task semantic needs --class_names, such as background,gland")
    if given.predictions and given.data:
        wrong.append("--data is for --ckpt_path and --baseline")
    if given.draws < 1 or (given.cap is not None and given.cap < 1):
        wrong.append("--draws and --cap: expected at least 1")
    return wrong


def _label_maps(given: argparse.Namespace) -> Work:
    from ..evaluation import InstanceEvaluator, SemanticEvaluator
    from ..evaluation.label_pairs import label_pairs
    from ..structures import Classes

    pairs = label_pairs(given.predictions, given.truth)
    objects = given.task == "instance"
    evaluator: DatasetEvaluator[Any]
    if objects:
        things = Classes(("background", "object"), things=(False, True))
        evaluator = InstanceEvaluator(things, cap=given.cap)
    else:
        names = tuple(given.class_names.split(","))
        evaluator = SemanticEvaluator(Classes(names, ignore_index=given.ignore_index).checked())
    about = {"predictions": str(given.predictions), "truth": str(given.truth)}
    return Work(evaluator, len(pairs), (p.judged(objects=objects) for p in pairs), about)


def _answers(given: argparse.Namespace, errors: dict[str, str]) -> Work:
    """Of a model, or of a baseline, on a split."""
    from ..evaluation import InstanceEvaluator, OtsuWatershed, evaluator_of
    from ..inference import Tiling
    from ..models import load_segmenter
    from .predict import device_called

    data = _split(given)
    about = {"data": given.data or "that of the checkpoint", "split": given.split}
    if given.baseline:
        things = [i for i, counted in enumerate(data.classes.things) if counted]
        baseline = OtsuWatershed(given.foreground, given.radius, things[0] if things else 1)
        images = _predicted(data, baseline, None, errors)
        evaluator = InstanceEvaluator(data.classes, cap=given.cap)
        return Work(evaluator, len(data), images, {"model": given.baseline, **about})
    model = load_segmenter(given.ckpt_path, weights=given.weights)
    model = model.to(device_called(given.device))
    if model.classes.num_classes != data.classes.num_classes:
        raise ValueError(
            f"the data has {data.classes.num_classes} classes {data.classes.names}, the model "
            f"{model.classes.num_classes} {model.classes.names}"
        )
    usage = model.usage
    tiling = Tiling(usage.mode, usage.tile, usage.overlap, given.batch_size).checked()
    judge = evaluator_of(model.classes, objects=not model.head.scored)
    if isinstance(judge, InstanceEvaluator):
        judge.cap = given.cap
    images = _predicted(data, model.eval(), tiling, errors)
    return Work(judge, len(data), images, {"model": str(given.ckpt_path), **about})


def _split(given: argparse.Namespace) -> SampleDataset:
    """The images to score: of a manifest, a config, or the data a checkpoint was trained on."""
    from ..data.image_dataset import ManifestDataset
    from ..training.parser import build_data
    from ..training.stored import read_header
    from .compose import compose

    if given.data is not None and given.data.endswith(".json"):
        data: SampleDataset = ManifestDataset(given.data, given.split)
    else:
        if given.data is not None:
            config = compose(given.data, [])
        elif Path(given.ckpt_path).is_dir():
            raise ValueError(f"{given.ckpt_path}: a folder holds no data: give --data")
        else:
            config = read_header(Path(given.ckpt_path))["config"]
        splits = build_data({"data": config.get("data")}).splits
        if given.split not in splits:
            raise ValueError(f"--split: the data has {', '.join(splits)}, not {given.split!r}")
        data = splits[given.split]
    if not len(data):
        raise ValueError(f"--split: {given.split} is empty")
    return data


def _predicted(
    data: SampleDataset, model: Predicts, tiling: Tiling | None, errors: dict[str, str]
) -> Iterator[Judged]:
    """Every image with its truth and what the model says, in tiles or as a whole."""
    from ..data.stores import ArraySource, ImageReadError
    from ..evaluation.judging import Judged

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


def _report(findings: Findings, evaluator: DatasetEvaluator[Any], output: Path | None) -> None:
    from .speak import print_metrics

    print(f"over {findings.about['images']} images")
    print_metrics(findings.pooled, evaluator.classes)
    for key in HEADLINES:
        low, high = findings.intervals.get(key, (math.nan, math.nan))
        if not math.isnan(low):
            print(f"{key} {findings.pooled[key]:.4f}, 95 % within {low:.4f} and {high:.4f}")
    if output is not None:
        print(f"written: {output / 'index.html'}, metrics.json, metrics.csv")
