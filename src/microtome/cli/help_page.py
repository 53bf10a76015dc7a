"""Writes `help_fit.txt` from signatures and docstrings, so that showing it never imports torch.

`python -m microtome.cli.help_page` (`make docs`) writes it; a test keeps it fresh.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docstring_parser import parse

from ..data.datamodule import DataModule, ManifestData
from ..files import whole
from ..models import Segmenter
from ..training.module import TrainingModule
from ..training.pictures import SamplePictures
from ..training.schedules import Cosine
from .compose import PACKAGED

PAGE = Path(__file__).with_name("help_fit.txt")
HEAD = """\
usage: microtome fit --config FILE|NAME [group=option] [a.b=c] [--key=value] [options]
       microtome validate --ckpt_path FILE [--config FILE|NAME] [--key=value]

Trains what a config describes into runs/NAME: config.yaml, data.json, training.log, metrics.csv,
tensorboard/, checkpoints/best.ckpt and last.ckpt, visualizations/, training_history.png.

options
  --config FILE|NAME    a YAML file, or a packaged one: {experiments}
  --ckpt_path FILE      go on from a checkpoint, or validate it; `last`: the newest that is whole
  --resume [FILE]       the same; alone it means `last`; a run's folder needs no --config
  --logger NAME         tensorboard, wandb or none; metrics.csv is always written
  --device DEVICE       cpu, cuda, cuda:0, mps
  --fast_dev_run        one batch of everything, nothing is written
  --print_config        print the resolved config and stop
  --name NAME           the run's folder is runs/NAME      --runs DIR   instead of runs
  --seed N              determines every random choice     --monitor M  metric of best.ckpt

config groups: group=option takes another file of a group
{groups}

keys: a.b=c or --a.b=c sets any of them
"""
SECTIONS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("data.init_args, with class_path microtome.data.datamodule.ManifestData", ManifestData),
    ("data.init_args, of every data module", DataModule),
    ("model", TrainingModule),
    ("model.segmenter.init_args", Segmenter),
    ("model.scheduler.init_args, with class_path microtome.training.schedules.Cosine", Cosine),
    ("pictures", SamplePictures),
)
FOOT = """
trainer
  every argument of lightning.pytorch.Trainer: max_epochs, max_steps, precision (bf16-mixed),
  devices, strategy, accumulate_grad_batches, gradient_clip_val, check_val_every_n_epoch …
  not val_check_interval, which counts batches: val_every_steps counts optimiser steps
"""
GIVEN = {"self", "options", "seed", "classes", "folder", "train", "val", "test"}


def page() -> str:
    """Return the help page of `fit`."""
    experiments = ", ".join(sorted(p.stem for p in (PACKAGED / "experiment").glob("*.yaml")))
    sections = [f"\n{title}\n{_arguments(part)}" for title, part in SECTIONS]
    head = HEAD.format(experiments=experiments, groups=_groups())
    return head + "\n".join(sections) + "\n" + FOOT


def _groups() -> str:
    folders = sorted(p for p in PACKAGED.rglob("*") if p.is_dir() and p.name != "experiment")
    options = {f: sorted(p.stem for p in f.glob("*.yaml")) for f in folders}
    rows = [(f.relative_to(PACKAGED).as_posix(), names) for f, names in options.items() if names]
    return "\n".join(f"  {group:<18}{' | '.join(names)}" for group, names in rows)


def _arguments(part: Callable[..., Any]) -> str:
    """One paragraph per argument: name, default, and what its docstring says."""
    told = {p.arg_name: p.description or "" for p in parse(inspect.getdoc(part) or "").params}
    rows = []
    for name, parameter in inspect.signature(part).parameters.items():
        if name in GIVEN:
            continue
        default = parameter.default
        shown = "" if default is parameter.empty or callable(default) else f" (default: {default})"
        text = " ".join(told.get(name, "").split()) + shown
        rows.append(
            textwrap.fill(text, 100, initial_indent=f"  {name:<20}", subsequent_indent=" " * 22)
        )
    return "\n".join(rows)


if __name__ == "__main__":
    with whole(PAGE) as part:
        part.write_text(page())
