"""Checks a resolved config against the signatures of what it names, and builds from it.

jsonargparse reads types and docstrings, so an unknown key or a wrong value is found before anything
is built. There is no schema beside the code.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from jsonargparse.typing import register_type
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer

from ..data.datamodule import DataModule
from ..data.stores import ImageReadError
from ..files import CorruptFileError
from .loggers import Name
from .module import TrainingModule
from .pictures import SamplePictures

# MONAI types its keys as Hashable, which jsonargparse reads but writes as an error message.
register_type(Hashable, serializer=lambda value: value, deserializer=lambda value: value)

NOISE = (  # lines of jsonargparse's report that say nothing about the mistake
    "Does not validate against any of the Union",
    "Subtypes:",
    "Errors:",
    "Given value",
    "Expected a <class 'NoneType'>",
)
# Trainer arguments that `run` fills itself; `val_every_steps` stands for the last
LIVE = {"callbacks", "plugins", "default_root_dir", "val_check_interval"}


REFUSALS = (
    ValueError,
    TypeError,
    OSError,
    ImageReadError,
    CorruptFileError,
    MisconfigurationException,  # Lightning's, for what no argument's type tells
)


class ConfigError(Exception):
    """A config that cannot be run; the message is for the person who wrote it."""


def make_parser() -> ArgumentParser:
    """Return the parser of a run's config: `name`, `data`, `model`, `trainer` and a few more."""
    parser = ArgumentParser(prog="microtome fit", exit_on_error=False)
    parser.add_argument("--config", action="config", help="a YAML file")
    parser.add_argument("--name", type=str, default="run", help="the run's folder is RUNS/NAME")
    parser.add_argument("--runs", type=str, default="runs", help="the folder of all runs")
    parser.add_argument("--seed", type=int, default=0, help="determines every random choice")
    parser.add_argument(
        "--monitor",
        type=str | None,
        default=None,
        help="the metric of the best checkpoint; val/miou or, of objects, val/pq if not given",
    )
    parser.add_argument(
        "--ckpt_path", type=str | None, default=None, help="start from: a file, or `last`"
    )
    parser.add_argument(
        "--val_every_steps",
        type=int | None,
        default=None,
        help="validate every so many optimiser steps, not at the ends of epochs",
    )
    parser.add_argument(
        "--ema_decay",
        type=float | None,
        default=None,
        help="validate and save an exponential moving average of the weights, such as 0.999",
    )
    parser.add_argument(
        "--stop_after",
        type=int | None,
        default=None,
        help="end the run after so many validations in which `monitor` got no better",
    )
    parser.add_argument(
        "--logger", type=Name, default="tensorboard", help="where curves go beside metrics.csv"
    )
    parser.add_class_arguments(SamplePictures, "pictures", skip={"folder"}, instantiate=False)
    parser.add_class_arguments(
        Trainer, "trainer", skip=LIVE, instantiate=False, fail_untyped=False, sub_configs=True
    )
    parser.add_class_arguments(TrainingModule, "model", fail_untyped=False, sub_configs=True)
    parser.add_subclass_arguments(DataModule, "data", required=True, fail_untyped=False)
    parser.link_arguments("seed", "model.seed")
    parser.link_arguments("seed", "data.init_args.seed")
    parser.link_arguments(
        "data", "model.segmenter.init_args.classes", compute_fn=_classes, apply_on="instantiate"
    )
    parser.set_defaults(
        {
            "trainer.use_distributed_sampler": False,  # our sampler deals draws to ranks itself
            "trainer.enable_model_summary": False,
            "trainer.num_sanity_val_steps": 0,
        }
    )
    return parser


def parse(
    parser: ArgumentParser, config: dict[str, Any] | None, flags: Sequence[str] = ()
) -> Namespace:
    """Check a config and the flags that override it.

    Raises ConfigError with the innermost reason and its key.
    """
    given = [] if config is None else ["--config", yaml.safe_dump(config, sort_keys=False)]
    try:
        return parser.parse_args([*given, *flags])
    except ArgumentError as error:
        raise ConfigError(innermost(str(error))) from error


def build_data(config: dict[str, Any]) -> DataModule:
    """Build only the `data` of a config.

    Raises ConfigError as `parse` does, and for what the data set itself refuses.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(DataModule, "data", required=True, fail_untyped=False)
    checked = parse(parser, config)
    with refusing():
        data: DataModule = parser.instantiate(checked).data
    return data


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what constructors and readers refuse into a message for the config's author."""
    try:
        yield
    except REFUSALS as error:
        raise ConfigError(_told(error)) from error


def plain(parser: ArgumentParser, config: Namespace) -> dict[str, Any]:
    """Return the resolved config as plain data that `parse` accepts."""
    resolved: dict[str, Any] = yaml.safe_load(parser.dump(config, skip_unset=False))
    return resolved


def innermost(message: str) -> str:
    """Turn jsonargparse's nested report into one line: the whole key, the reason, the class."""
    keys: list[str] = []
    reasons: list[str] = []
    within = ""
    for line in (line.strip(" -") for line in message.splitlines()):
        if match := re.match(r'Parser key "(.+)":$', line):
            keys += ["init_args", match[1]] if within else [match[1]]
        elif match := re.match(r"Problem with given class_path '(.+)':$", line):
            within = match[1]
        elif line and not line.startswith(NOISE):
            reasons.append(re.sub(r"^Type .* callable class: | Got value: Namespace.*", "", line))
    reason = "; ".join(reasons) or f"cannot be used: {within}"
    return ": ".join(part for part in (".".join(keys), reason) if part) + (
        f" ({within})" if within and reasons else ""
    )


def _told(error: Exception) -> str:
    """The message below jsonargparse's "does not validate against any of the Union"."""
    while str(error).startswith(NOISE[0]) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return str(error)


def _classes(data: DataModule) -> Any:
    return data.classes
