"""One run from one resolved, plain config: what the command line does, and each worker too."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import Namespace
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import LearningRateMonitor, RichProgressBar
from lightning.pytorch.utilities import rank_zero_only

from ..data.datamodule import DataModule
from ..files import whole
from ..models.frozen import State
from .advice import advising
from .batch_size import AUTO, largest_batch
from .checkpoint import Header, WholeFiles, keepers
from .history import History
from .logbook import held, introduce, logged, quiet
from .loggers import finish, make_logger
from .module import TrainingModule
from .parser import ConfigError, make_parser, parse, plain, refusing
from .pictures import SamplePictures
from .places import free, start_of
from .provenance import git_state, versions
from .queries import too_few_queries
from .signals import StopOnSignal
from .steering import better, steering
from .stored import LAST, check_fits, complete

Plain = dict[str, Any]

log = logging.getLogger("microtome")


class Run(NamedTuple):
    """What a run made.

    Attributes:
        module: the trained or validated module.
        data: its data.
        folder: where it wrote; None for a trial run that writes nothing.
        metrics: the last figures, by name.
    """

    module: TrainingModule
    data: DataModule
    folder: Path | None
    metrics: dict[str, float]


def run(verb: str, config: dict[str, Any] | None, flags: Sequence[str] = (), **live: Any) -> Run:
    """Check a config, build what it names, and `fit` or `validate` it.

    Args:
        verb: `fit` or `validate`.
        config: resolved and plain, as `configs/` and a run's `config.yaml` hold it.
        flags: `--key=value` that override it.
        live: Trainer arguments that are objects and so cannot stand in a file.

    Raises:
        ConfigError: anything wrong with config or data; nothing was started then.
        RunError: memory or disk were not enough.
        StoppedError: SIGTERM or SIGUSR1 came, and a checkpoint was saved.
    """
    parser = make_parser()
    checked = parse(parser, config, flags)
    resolved = plain(parser, checked)
    if not leads():
        log.setLevel(logging.WARNING)
    with held() as early, quiet():
        with refusing():
            start = start_of(checked.ckpt_path, Path(checked.runs) / checked.name)
            seed_everything(checked.seed, workers=True, verbose=False)
            built = parser.instantiate(checked)
            named: State = {}
            if start is not None:
                named = complete(start, built.model)
                check_fits(start, built.model, named)
            live = {**live, "plugins": [*live.get("plugins", []), WholeFiles(named)]}
        _inspect(built.data, resolved)
        if verb == "validate":
            return _validate(built, start, live)
        return _fit(built, start, resolved, live, early)


def _fit(
    built: Namespace, start: Path | None, resolved: Plain, live: Plain, early: MemoryHandler
) -> Run:
    with refusing():
        built.model.learn_about(built.data)
        built.monitor = resolved["monitor"] = _monitor(built.monitor, built.model)
    data = resolved["data"]  # a checkpoint is used from other folders too
    data["init_args"] = built.data.located(data["init_args"])
    trial = bool(built.trainer.fast_dev_run)
    folder = None if trial else Path(built.runs) / built.name
    if folder is not None and leads():
        folder = free(folder, built.ckpt_path)
    options = built.trainer.as_dict() | live
    with refusing():
        callbacks = steering(built, options)
        if options["logger"] is None:
            options["logger"] = make_logger(built.logger, folder, resolved)
    if folder is not None:
        callbacks += _recorders(built, folder, resolved)
        if options["logger"]:
            callbacks.append(LearningRateMonitor(logging_interval="step"))
    trainer = _trainer(options, folder, callbacks)
    if built.data.batch_size == AUTO:
        with refusing():
            size = largest_batch(built.model, built.data, trainer)
        built.data.batch_size = resolved["data"]["init_args"]["batch_size"] = size
    if folder is not None and leads():
        with refusing(), whole(folder / "config.yaml") as part:
            part.write_text(yaml.safe_dump(resolved, sort_keys=False))
        built.data.write(folder)
    with logged(folder if leads() else None, early):
        introduce(built, trainer, folder)
        with advising(built, trainer, folder):
            trainer.fit(built.model, built.data, ckpt_path=start, weights_only=True)
        finish(trainer.loggers)
        log.info(f"done       {folder or 'the trial'}")
    return Run(built.model, built.data, folder, _figures(trainer))


def _validate(built: Namespace, start: Path | None, live: Plain) -> Run:
    if start is None:
        raise ConfigError("validate needs --ckpt_path FILE, and there is none yet")
    trainer = _trainer(built.trainer.as_dict() | {"logger": False} | live, None, [])
    built.model.eval()
    with advising(built, trainer, None):
        trainer.validate(built.model, built.data, start, verbose=False, weights_only=True)
    return Run(built.model, built.data, None, _figures(trainer))


def _recorders(built: Namespace, folder: Path, resolved: dict[str, Any]) -> list[Callback]:
    facts = {
        "config": resolved,
        "versions": versions(),
        "git": git_state(),
        "data": built.data.facts(),
    }
    monitor, by_steps = built.monitor, built.val_every_steps is not None
    return [
        Header(facts),
        SamplePictures(folder / "visualizations", **built.pictures.as_dict()),
        History(folder),
        *keepers(folder / "checkpoints", monitor, better(monitor), by_steps),
        StopOnSignal(folder / "checkpoints" / f"{LAST}.ckpt"),
    ]


def _trainer(options: dict[str, Any], folder: Path | None, callbacks: list[Callback]) -> Trainer:
    callbacks = [*callbacks, *options.pop("callbacks", [])]
    terminal = sys.stdout.isatty() and options["enable_progress_bar"] is not False
    options["enable_progress_bar"] = terminal
    if terminal:
        callbacks = [*callbacks, RichProgressBar()]
    options["enable_checkpointing"] = folder is not None
    with refusing():
        return Trainer(**options, callbacks=callbacks, default_root_dir=folder)


def leads() -> bool:
    """Whether this is the process that writes; the others take over its folder from Lightning."""
    return not getattr(rank_zero_only, "rank", 0)


def _inspect(data: DataModule, config: dict[str, Any]) -> None:
    """Open every file once, and refuse to start when something is wrong."""
    report = data.inspect()
    for warning in report.warnings:
        log.warning(f"data: {warning}")
    if few := too_few_queries(config, report):
        log.warning(f"model: {few}")
    if report.problems:
        raise ConfigError(report.text())


def _monitor(given: str | None, module: TrainingModule) -> str:
    """Refuse a metric that no epoch will have, before an epoch is spent on finding out."""
    if given is None:
        return f"val/{module.evaluator.main}"
    names = ["train/loss", "val/loss", *(f"val/{key}" for key in module.evaluator.numbers)]
    if given not in names:
        raise ValueError(f"monitor: expected one of {', '.join(names)}, got {given!r}")
    return given


def _figures(trainer: Trainer) -> dict[str, float]:
    return {k: float(v) for k, v in trainer.callback_metrics.items()}
