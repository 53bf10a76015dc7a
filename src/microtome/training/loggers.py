"""Where figures go besides `metrics.csv`, which every run writes."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

Name = Literal["tensorboard", "wandb", "none"]


def make_logger(name: Name, folder: Path | None, config: dict[str, Any]) -> Logger | bool:
    """Return the logger of a run; none for a trial, which writes nothing.

    Weights & Biases reads WANDB_PROJECT, WANDB_ENTITY and WANDB_MODE (`offline` sends nothing); a
    run that goes on keeps its id.

    Args:
        name: as in the config.
        folder: the run's.
        config: the resolved config, to be seen beside the curves.

    Raises ValueError when `wandb` is not installed.
    """
    if name == "wandb" and find_spec("wandb") is None:
        raise ValueError("logger: wandb is not installed; pip install 'microtome[wandb]'")
    if folder is None or name == "none":
        return False
    if name == "tensorboard":
        return TensorBoardLogger(folder, name="tensorboard", version="")
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("WANDB_SILENT", "true")
    logger = WandbLogger(
        name=folder.name,
        save_dir=folder,
        version=_earlier(folder),
        project=os.environ.get("WANDB_PROJECT", "microtome"),
        offline=os.environ.get("WANDB_MODE") == "offline",
        config=config,
        resume="allow",
        settings=_settings(),
    )
    logger._wandb_init.pop("anonymous", None)  # W&B warns of it; Lightning passes it still
    return logger


def finish(loggers: list[Logger]) -> None:
    """Have W&B write all it holds; it would else wait for the process to end."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def _settings() -> Any:
    """Neither the terminal's words nor the code are sent."""
    import wandb

    return wandb.Settings(console="off", disable_code=True, disable_git=True)


def _earlier(folder: Path) -> str | None:
    """The id under which this run was logged before."""
    found = sorted((folder / "wandb").glob("*run-*-*"))
    return found[-1].name.rpartition("-")[2] if found else None
