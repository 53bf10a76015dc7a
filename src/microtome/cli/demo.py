"""`microtome demo`: generate, train, validate, predict, and compare with two baselines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import refuse
from .compose import ComposeError, compose, is_override

if TYPE_CHECKING:
    from ..data.datamodule import DataModule
    from ..models import Segmenter

DESCRIPTION = """Generates images with exact truth, trains a small network, predicts images that it
never saw, and prints its figures beside those of two baselines. `tissue`: stained sections, a
few minutes of training on two cores. `nuclei3d`: volumes of nuclei with anisotropic voxels."""

EXPERIMENTS = {"tissue": "demo", "nuclei3d": "demo_nuclei3d"}
TISSUE = {"train": 48, "val": 8, "test": 12}
NUCLEI = {"train": 12, "val": 3, "test": 4}


def main(verb: str, args: list[str]) -> int:
    """Run the whole demonstration."""
    parser = argparse.ArgumentParser(prog=f"microtome {verb}", description=DESCRIPTION)
    parser.add_argument(
        "words", nargs="*", metavar="tissue|nuclei3d a.b=c", help="what, and changes"
    )
    parser.add_argument("--output", type=Path, default=Path("demo"), help="(default: demo)")
    given = parser.parse_intermixed_args(args)
    overrides = [word for word in given.words if is_override(word)]
    named = [word for word in given.words if word not in overrides] or ["tissue"]
    if len(named) > 1 or named[0] not in EXPERIMENTS:
        return refuse(f"demo: expected one of {', '.join(EXPERIMENTS)}, got {' '.join(named)}")
    what = named[0]
    try:
        config = compose(EXPERIMENTS[what], overrides)
    except ComposeError as error:
        return refuse(str(error))
    folder = given.output if what == "tissue" else given.output / what
    return _demonstrate(what, folder, config)


def _demonstrate(what: str, folder: Path, config: dict[str, Any]) -> int:
    from ..inference.batch import predict_files
    from ..inference.inputs import find_inputs
    from ..models import load_segmenter
    from ..training.parser import ConfigError
    from ..training.run import run
    from .speak import progress, speak

    speak()
    config["data"]["init_args"]["manifest"] = str(_generate(what, folder / "data"))
    config["runs"] = str(folder / "runs")
    try:
        done = run("fit", config)
    except ConfigError as error:
        return refuse(str(error))
    assert done.folder is not None
    model = load_segmenter(done.folder / "checkpoints" / "best.ckpt")
    inputs = find_inputs(folder / "data" / "manifest.json", model.classes)
    output = done.folder / "predictions"
    with progress("predicting held-out images") as bar:
        task = bar.add_task("", total=len(inputs.names))
        summary = predict_files(
            inputs,
            model,
            output,
            done.module.tiling,
            progress=lambda n, total: bar.update(task, completed=n, total=total),
        )
    _compare(done.data, model, summary.metrics)
    _where(done.folder, output)
    return 1 if summary.errors else 0


def _generate(what: str, folder: Path) -> Path:
    """Write the images, unless an earlier demonstration left them."""
    from ..data.synthetic import write_nuclei, write_tissue

    manifest = folder / "manifest.json"
    if manifest.exists():
        print(f"images     {folder}, from before")
        return manifest
    print(f"images     generating into {folder}", flush=True)
    return write_tissue(folder, TISSUE) if what == "tissue" else write_nuclei(folder, NUCLEI)


def _compare(data: DataModule, model: Segmenter, metrics: dict[str, float]) -> None:
    """Print the model's figures beside those of the baselines, on the same held-out images."""
    from ..evaluation import ConstantClass, NearestMeanColour, evaluate
    from .speak import print_metrics

    train = [data.splits["train"].load(i) for i in range(len(data.splits["train"]))]
    test = [data.splits["test"].load(i) for i in range(len(data.splits["test"]))]
    truths = [sample.truth for sample in test if sample.truth is not None]
    print(f"\n{len(test)} held-out images, never seen in training\n")
    print_metrics(metrics, model.classes)
    print(f"\n{'':<24}{'mIoU':>8}{'Dice':>8}")
    rows = {"microtome": metrics}
    for name, kind in (
        ("constant class", ConstantClass),
        ("nearest mean colour", NearestMeanColour),
    ):
        baseline = kind.fit(train, data.classes)
        rows[name] = evaluate(baseline.predict_samples(test), truths, data.classes)
    for name, row in rows.items():
        print(f"{name:<24}{row['miou']:>8.3f}{row['mean_dice']:>8.3f}")


def _where(folder: Path, output: Path) -> None:
    print(f"""
look at    {output / "predictions_overlays"}
           {folder / "training_history.png"}
           {folder / "visualizations"}
go on with
  microtome predict --ckpt_path {folder / "checkpoints" / "best.ckpt"} --input IMAGES --output OUT
  microtome fit --config demo data.init_args.manifest=YOUR.json""")
