"""`microtome evaluate`: all metrics of a model on a split, or of label maps of any program."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import refuse
from .asked import add_asked, is_asked

if TYPE_CHECKING:
    from ..evaluation import DatasetEvaluator
    from ..evaluation.findings import Findings

DESCRIPTION = """Scores results against truths. Either a checkpoint on a split of its data, or of
other data: --ckpt_path FILE [--data DATA]. Or a baseline that learns nothing: --baseline
otsu_watershed --data DATA. Or results of any program, folders of label maps, paired by name, or
files of COCO's: --predictions DIR|JSON --truth DIR|JSON. Prints a table; with --output also writes
metrics.json with bootstrap intervals, metrics.csv by class, size and image, and index.html with
pictures of the best and worst images. Exit code 1 when some images could not be read, 2 when
nothing was scored."""
DATA = "a manifest (.json) or a config with `data`; of a checkpoint its own when not given"
TASK = "what maps hold; `semantic` also scores the pixels of a model that finds objects"
CAP = "detections of an image and class that count for COCO's AP (default: all)"
SURFACES = "of class maps also HD95 and surface Dice, which may be so far off; takes long"
SPACING = "micrometres per pixel, one or one per axis, where images do not say"
HEADLINES = ("pq", "ap_dsb@0.5", "aji", "coco_ap50", "miou", "mean_dice", "mean_surface_dice")


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
    from .evaluated import work_of
    from .speak import progress

    errors: dict[str, str] = {}
    refusals = (ValueError, OSError, ImageReadError, CorruptFileError)
    try:
        work = work_of(given, errors)
        album = Album(work.evaluator, given.pictures)
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
    add("--ckpt_path", metavar="FILE", help="a checkpoint, or a folder with one")
    add("--baseline", choices=("otsu_watershed",), help="threshold, then watershed of distances")
    add("--data", metavar="DATA", help=DATA)
    add("--split", default="val", help="train, val or test (default: val)")
    add("--predictions", type=Path, metavar="DIR|JSON", help="label maps, or COCO")
    add("--truth", type=Path, metavar="DIR|JSON", help="of the same names")
    add("--task", choices=("instance", "semantic"), default="instance", help=TASK)
    add("--class_names", metavar="A,B,C", help="of --task semantic, from 0 on")
    add("--ignore_index", type=int, default=255, help="of --task semantic (default: 255)")
    add("--output", type=Path, metavar="DIR", help="where to write tables and pictures")
    add("--foreground", choices=("bright", "dark"), default="bright", help="of --baseline")
    add("--radius", type=float, default=5, help="pixels, of the smallest objects, of --baseline")
    add("--cap", type=int, metavar="N", help=CAP)
    add("--surface_tolerance", type=float, metavar="UM", help=SURFACES)
    add("--spacing_um", type=float, nargs="+", metavar="UM", help=SPACING)
    add("--pictures", type=int, default=4, metavar="N", help="of the best and worst (default: 4)")
    add("--draws", type=int, default=1000, metavar="N", help="of the bootstrap (default: 1000)")
    add("--batch_size", type=int, default=4, metavar="N", help="tiles at once (default: 4)")
    add_asked(parser)
    add("--weights", metavar="FILE|DIR", help="where the file of a frozen encoder is")
    add("--device", default="auto", help="cpu, cuda, cuda:0, mps (default: the best there is)")
    return parser


def _mistakes(given: argparse.Namespace) -> list[str]:
    """What does not go together."""
    wrong = []
    ways = [given.ckpt_path, given.baseline, given.predictions or given.truth]
    if sum(way is not None for way in ways) != 1:
        wrong.append("give one of --ckpt_path, --baseline, and --predictions with --truth")
    if given.baseline and not given.data:
        wrong.append("--baseline needs --data")
    if given.predictions and given.data:
        wrong.append("--data is for --ckpt_path and --baseline")
    if is_asked(given) and not given.ckpt_path:
        wrong.append("--tta, --tta_scales and --min_score are for --ckpt_path")
    if min(given.draws, given.pictures, 1 if given.cap is None else given.cap) < 1:
        wrong.append("--draws, --pictures and --cap: expected at least 1")
    return wrong + _mistakes_of_files(given) + _mistakes_of_surfaces(given)


def _mistakes_of_files(given: argparse.Namespace) -> list[str]:
    if given.predictions is None or given.truth is None:
        alike = given.predictions is given.truth
        return [] if alike else ["--predictions and --truth go together"]
    wrong = []
    coco = [side.suffix == ".json" for side in (given.predictions, given.truth)]
    if any(coco) != all(coco):
        wrong.append("--predictions and --truth: give two folders, or two files of COCO's")
    if given.task == "semantic" and any(coco):
        wrong.append("--task semantic: files of COCO's hold objects")
    elif given.task == "semantic" and not given.class_names:
        wrong.append("--task semantic needs --class_names, such as background,gland")
    return wrong


def _mistakes_of_surfaces(given: argparse.Namespace) -> list[str]:
    wrong = []
    tolerance, spacing = given.surface_tolerance, given.spacing_um
    if tolerance is not None and not 0 <= tolerance < math.inf:
        wrong.append(f"--surface_tolerance: expected micrometres from 0 on, got {tolerance}")
    if spacing is not None and not all(0 < step < math.inf for step in spacing):
        wrong.append(f"--spacing_um: expected micrometres above 0, got {spacing}")
    if spacing is not None and tolerance is None:
        wrong.append("--spacing_um is for --surface_tolerance")
    return wrong


def _report(findings: Findings, evaluator: DatasetEvaluator[Any], output: Path | None) -> None:
    from .speak import print_metrics

    print(f"over {findings.about['images']} images")
    print_metrics(findings.pooled, evaluator.classes)
    for key in HEADLINES:
        low, high = findings.intervals.get(key, (math.nan, math.nan))
        if not math.isnan(low):
            within = f"95 % within {low:.4f} and {high:.4f}"
            mean = findings.means.get(key, math.nan)
            print(f"{key} {findings.pooled[key]:.4f}, {within}; mean of images {mean:.4f}")
    if output is not None:
        print(f"written: {output / 'index.html'}, metrics.json, metrics.csv")
