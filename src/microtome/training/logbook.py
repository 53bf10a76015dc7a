"""What a run says while it goes on, and what it keeps to itself."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch import Trainer

log = logging.getLogger("microtome")


def introduce(built: Namespace, trainer: Trainer, folder: Path | None) -> None:
    """Log what runs on what, and where it is written."""
    model = built.model.model
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    everything = sum(p.numel() for p in model.parameters())
    log.info(f"run        {folder or 'a trial: nothing is written'}")
    log.info(f"data       {built.data.in_words()}")
    log.info(
        f"model      {type(model.backbone).__name__} + {type(model.head).__name__}, "
        f"{everything / 1e6:.2f} M parameters, {trainable / 1e6:.2f} M trainable"
    )
    if origin := model.backbone.origin:
        log.info(f"encoder    {', '.join(origin[key] for key in ('name', 'weights', 'licence'))}")
    log.info(f"device     {trainer.strategy.root_device}, precision {trainer.precision}")


@contextmanager
def held() -> Iterator[MemoryHandler]:
    """Hold what is logged before a run has its folder: of weights, of data, of batches."""
    early = MemoryHandler(0, flushOnClose=False)  # with nowhere to flush to it holds everything
    log.setLevel(log.level or logging.INFO)
    log.addHandler(early)
    try:
        yield early
    finally:
        log.removeHandler(early)
        early.close()


@contextmanager
def logged(folder: Path | None, early: MemoryHandler) -> Iterator[None]:
    """Write what was held, and what is logged meanwhile, to `training.log`.

    Without a folder, nowhere.
    """
    log.removeHandler(early)
    if folder is None:
        yield
        return
    handler = logging.FileHandler(folder / "training.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    early.setTarget(handler)
    early.flush()
    log.addHandler(handler)
    log.setLevel(min(log.level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's advertisements and hints that do not hold here."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for hint in (
            ".*does not have many workers.*",  # how many pays depends on the machine
            ".*number of training batches .* is smaller than the logging interval.*",
            ".*isinstance.treespec, LeafSpec.*",  # Lightning's own, with recent torch
            ".*Checkpoint directory .* exists and is not empty.*",
            ".*The dirpath has changed from.*",  # a run that starts from another run's checkpoint
            ".*module.s. in eval mode at the start of training.*",  # frozen ones are meant to be
            ".*callbacks used to create the checkpoint need to be provided.*",  # validating
        ):
            warnings.filterwarnings("ignore", hint)
        yield
