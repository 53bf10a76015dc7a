"""`microtome predict`: masks, overlays and metrics for a file, a folder, a manifest or a split."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import refuse
from .asked import add_asked, asked

if TYPE_CHECKING:
    from ..data.records import Reading
    from ..inference import Tiling
    from ..inference.inputs import Inputs
    from ..inference.summary import Summary
    from ..models import Segmenter

DESCRIPTION = """Segments images and writes OUTPUT/predictions_masks (class index per pixel, PNG;
TIFF for volumes) or, of models that find objects, OUTPUT/instances and objects.csv;
predictions_overlays (pictures with a legend), metrics.json (for images with masks) and errors.json
(for images that failed). Without --input it takes the test split of the model's own data. What is
not given is as in the training run. Run again, it goes on where it stopped. Exit code 1 when some
images failed, 2 when nothing was started."""
OVERLAP = "what the next tile repeats: below 1 a part, from 1 on as much; one or one per axis"
CHECKPOINT = "a checkpoint, the folder of a run (best.ckpt, else last.ckpt), or of an export"
OBJECTS = "of objects: tif, zarr, csv, parquet, coco, geojson (default: tif,csv)"


def main(verb: str, args: list[str]) -> int:
    """Parse, load, predict, report."""
    given = _parser(verb).parse_args(args)
    from ..data.stores import ImageReadError
    from ..files import CorruptFileError
    from ..inference.batch import predict_files
    from ..inference.into_stores import predict_into_stores
    from ..inference.memory import out_of_memory
    from ..models import checkpoint_in, load_segmenter
    from ..training.parser import ConfigError
    from .speak import progress

    try:
        model = load_segmenter(given.ckpt_path, weights=given.weights).to(
            device_called(given.device)
        )
        tiling = _tiling(model, given)
        checkpoint = checkpoint_in(given.ckpt_path)
        inputs = _inputs(model, checkpoint, given)
        _check(model, inputs.images.reading, given)
        predicts, told = asked(model, given)
        with progress("predicting") as bar:
            task = bar.add_task("", total=len(inputs.names))
            predict = predict_files
            if given.store:
                predict = partial(predict_into_stores, workers=given.workers, expect=print)
            summary = predict(
                inputs,
                predicts,
                given.output,
                tiling,
                made_by=_maker(checkpoint) | told,
                objects=given.objects.split(","),
                confidence=given.confidence,
                overwrite=given.overwrite,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except (ValueError, OSError, CorruptFileError, ImageReadError, ConfigError) as error:
        return refuse(str(error))
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return refuse(_for_memory(error, tiling), code=1)
    return _report(summary, model, given.output)


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"microtome {verb}", description=DESCRIPTION)
    add = parser.add_argument
    add("--ckpt_path", required=True, metavar="FILE|DIR", help=CHECKPOINT)
    add("--input", metavar="FILE|DIR|URL|JSON", help="what to segment (default: its own data)")
    add("--output", type=Path, required=True, metavar="DIR", help="where to write")
    add("--split", default="test", help="of a manifest or its own data (default: test)")
    add("--mode", choices=("sliding", "resize"), help="tiles, or the whole image resized to one")
    add("--tile", type=float, nargs="+", metavar="SIZE", help="of a tile, one or one per axis")
    add("--overlap", type=float, nargs="+", metavar="SIZE", help=OVERLAP)
    add("--unit", choices=("px", "um"), default="px", help="of --tile and --overlap (default: px)")
    add("--batch_size", type=int, default=4, metavar="N", help="tiles at once (default: 4)")
    add_asked(parser)
    add("--spacing_um", type=float, help="micrometres per pixel, where files do not say")
    add("--objects", default="tif,csv", metavar="FORMATS", help=OBJECTS)
    add("--confidence", action="store_true", help="also write OUTPUT/confidence")
    add("--store", action="store_true", help="images of any size, into OME-Zarr, tile by tile")
    add("--workers", type=int, default=0, metavar="N", help="further processes, with --store")
    add("--weights", metavar="FILE|DIR", help="where the file of a frozen encoder is")
    add("--device", default="auto", help="cpu, cuda, cuda:0, mps (default: the best there is)")
    add("--overwrite", action="store_true", help="predict again what is already there")
    return parser


def device_called(name: str) -> str:
    """Resolve `auto`.

    Raises ValueError for a device that is not there.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next((kind for kind, found in there.items() if found), "cpu")
    if not there.get(name.partition(":")[0], name == "cpu"):
        raise ValueError(f"--device {name}: not on this machine (`microtome doctor` lists devices)")
    return name


def _inputs(model: Segmenter, checkpoint: Path, given: argparse.Namespace) -> Inputs:
    """What --input says; else a split of the data that the checkpoint was trained on."""
    from ..data.records import Reading
    from ..inference.inputs import find_inputs
    from .own_data import own_inputs

    if given.input is None:
        return own_inputs(checkpoint, given.split, model.classes)
    usage = model.usage
    reading = Reading(usage.channels, usage.levels, given.spacing_um)
    return find_inputs(given.input, model.classes, reading, given.split)


def _tiling(model: Segmenter, given: argparse.Namespace) -> Tiling:
    """Take the training run's settings, and what the command line says instead."""
    from ..inference import Tiling

    usage = model.usage
    said = {"mode": given.mode, "tile": _one(given.tile), "overlap": _one(given.overlap)}
    trained = Tiling(usage.mode, usage.tile, usage.overlap, given.batch_size)
    if given.unit != "px":
        if given.tile is None:
            raise ValueError("--unit um says how large --tile is: give that, too")
        said["unit"] = given.unit
    return trained._replace(**{k: v for k, v in said.items() if v is not None}).checked()


def _one(sizes: list[float] | None) -> float | list[float] | None:
    """A single value stands for all axes; whole numbers are said as such."""
    if sizes is None:
        return None
    whole = [int(s) if s == int(s) else s for s in sizes]
    return whole[0] if len(whole) == 1 else whole


def _check(model: Segmenter, reading: Reading, given: argparse.Namespace) -> None:
    """Refuse once, with a ValueError, what would fail with every image."""
    if given.confidence and given.store and not model.head.scored:
        raise ValueError("--confidence: in stores of objects, their scores stand in objects.csv")
    wanted = model.backbone.in_channels
    read = {"rgb": 3, "grey": 1}.get(reading.channels, wanted)
    if read != wanted:
        raise ValueError(
            f"the model takes {wanted} channels, and the manifest has images read as "
            f'"{reading.channels}", which is {read}; change its "channels"'
        )


def _for_memory(error: BaseException, tiling: Tiling) -> str:
    """What takes less, the cheapest first."""
    ways = [
        *([f"--batch_size 1 (now {tiling.batch_size})"] if tiling.batch_size > 1 else []),
        f"--tile smaller than {tiling.tile}",
        "--device cpu, where there is more memory than on the device",
    ]
    reason = str(error).partition("\n")[0]
    return (
        f"out of memory: {reason}\nWhat takes less, in this order:\n  "
        + "\n  ".join(ways)
        + "\nRun again, it goes on where it stopped."
    )


def _maker(checkpoint: Path) -> dict[str, str]:
    """What results depend on: the sha256 of what holds the weights."""
    from ..files import sha256

    held = sha256(checkpoint / "model.safetensors" if checkpoint.is_dir() else checkpoint)
    return {"checkpoint": held}


def _report(summary: Summary, model: Segmenter, output: Path) -> int:
    from .speak import print_metrics

    kept = f", {summary.kept} kept from before" if summary.kept else ""
    print(f"{summary.predicted} images predicted{kept}: {output}")
    if summary.metrics:
        print(f"\nover {len(summary.images)} images with masks")
        print_metrics(summary.metrics, model.classes)
    for name, reason in summary.unscored.items():
        print(f"{name} was not scored: {reason}")
    for name, reason in summary.errors.items():
        refuse(f"{name} failed: {reason}")
    return 1 if summary.errors else 0
