"""Checkpoints as they lie on the disk: which are whole, what they say of themselves, the newest."""

from __future__ import annotations

import copy
import logging
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.pytorch import LightningModule

from ..files import CorruptFileError, verify_file
from ..models.checkpoint import HEADER, PREFIX
from ..models.frozen import Frozen, State, refill
from .module import TrainingModule

log = logging.getLogger("microtome")

KEY = HEADER
NAMED = (
    "microtome.backbones.Normalisation",
    "microtome.backbones.family.Weights",
    "microtome.backbones.low_rank.LowRank",
)
LAST = "last"  # stands for the newest checkpoint of the run that is whole


def local(path: Any) -> Path:
    """Return a checkpoint's path.

    Raises ValueError for a URL and FileNotFoundError when nothing is there.
    """
    if "://" in str(path):
        raise ValueError(f"{path}: checkpoints are read from local files only; download it first")
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: there is no such checkpoint")
    return source


def newest(folder: Path) -> Path | None:
    """Return the checkpoint in `folder` that is furthest and whole; None when there is none at all.

    How far one is stands in it, for times of files change when a run is copied. Each that is
    damaged and further than the one returned is named in a warning.

    Raises ValueError when there are some and all are damaged: that is no reason to begin again.
    """
    files = [f for f in sorted(folder.glob("*.ckpt")) if not f.name.startswith(".")]  # unfinished
    reasons: list[str] = []
    steps: dict[Path, int] = {}
    for file in files:
        try:
            steps[file] = int(content(file)["global_step"])
        except (ValueError, KeyError) as error:
            reasons.append(str(error))
    for file in sorted(steps, key=lambda f: (steps[f], f.stem == LAST), reverse=True):
        try:
            verify_file(file)
        except CorruptFileError as error:
            reasons.append(str(error))
            continue
        for reason in reasons:
            log.warning(reason)
        log.info(f"going on    from {file}, step {steps[file]}")
        return file
    if reasons:
        raise ValueError("no checkpoint to go on from is whole:\n  " + "\n  ".join(reasons))
    return None


def read_header(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself: `config`, `blueprint`, `versions`, `data` and more.

    Raises ValueError when microtome did not write it.
    """
    header: dict[str, Any] = content(local(path))[KEY]
    return header


def as_built(header: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a run, its backbone as it was built and not where its weights were.

    What was trained stands in the checkpoint, so that the encoder's file is not needed again.
    """
    config: dict[str, Any] = copy.deepcopy(header["config"])
    built = header["blueprint"]["init_args"]["backbone"]
    config["model"]["segmenter"]["init_args"]["backbone"] = _as_config(built)
    return {**config, "ckpt_path": None}


def _as_config(blueprint: Any) -> Any:
    """A blueprint in the words of a config, where a NamedTuple stands without its class."""
    if isinstance(blueprint, list):
        return [_as_config(value) for value in blueprint]
    if not isinstance(blueprint, dict):
        return blueprint
    plain = {key: _as_config(value) for key, value in blueprint.items()}
    names = plain.get("class_path") in NAMED
    return plain["init_args"] if names else plain


def complete(path: Path, module: LightningModule) -> State:
    """Fill a model with the frozen weights that a checkpoint only names; return them.

    Raises FileNotFoundError saying what is missing, and ValueError when the config names another
    file than the one the checkpoint was trained on.
    """
    assert isinstance(module, TrainingModule)
    parts = [Frozen(**told) for told in read_header(path).get("frozen", ())]
    found = refill(module.model, parts, [path.parent])
    return {PREFIX + key: value for key, value in found.items()}


def check_fits(path: Any, module: LightningModule, named: State) -> None:
    """Compare a checkpoint, with the weights it only names, with the model that is to take both.

    Raises ValueError when it is of another model, CorruptFileError when it is damaged.
    """
    source = local(path)
    verify_file(source)
    stored = content(source)["state_dict"] | named
    saved = {k: tuple(v.shape) for k, v in stored.items()}
    own = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    wrong = [
        f"{key} is {saved.get(key, 'missing')} there and {own.get(key, 'missing')} here"
        for key in (*own, *(saved.keys() - own.keys()))
        if saved.get(key) != own.get(key)
    ]
    if wrong:
        raise ValueError(
            f"{source}: of another model than the config describes: {len(wrong)} weights do not "
            f"fit, such as {'; '.join(wrong[:2])}"
        )


def content(source: Path) -> dict[str, Any]:
    """Return what stands in a checkpoint, its tensors without their values.

    Raises ValueError for anything that microtome did not write, and for what is cut off.
    """
    if not zipfile.is_zipfile(source):
        raise ValueError(f"{source}: not a checkpoint, or one that was cut off")
    try:
        found = torch.load(source, map_location="meta", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, OSError, ValueError, UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{source}: not a readable checkpoint ({reason})") from error
    if not isinstance(found, dict) or KEY not in found or "state_dict" not in found:
        raise ValueError(f"{source}: not a microtome checkpoint (it has no {KEY!r} section)")
    return found
