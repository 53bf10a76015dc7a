"""From training's checkpoint to the model in it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from ..files import verify_file
from ..weights import read_torch
from .frozen import Frozen, refill
from .saving import CONFIG
from .segmenter import Segmenter

HEADER = "microtome"  # the checkpoint's section that says how to build the model
PREFIX = "model."  # training's module calls the segmenter so
FOLDER, PREFERRED = "checkpoints", ("best.ckpt", "last.ckpt")


def checkpoint_in(path: str | Path) -> Path:
    """What a path stands for: a checkpoint's file, or a folder of `save_pretrained`.

    Of a run's folder, or the folder of its checkpoints, that is `best.ckpt`, else `last.ckpt`, else
    the only one.

    Raises ValueError for several of other names, and FileNotFoundError when there is none.
    """
    given = Path(path)
    if not given.is_dir() or (given / CONFIG).is_file():
        return given
    place = given / FOLDER if (given / FOLDER).is_dir() else given
    files = {f.name: f for f in sorted(place.glob("*.ckpt")) if not f.name.startswith(".")}
    for name in PREFERRED:
        if name in files:
            return files[name]
    if len(files) > 1:
        raise ValueError(
            f"{place}: neither {' nor '.join(PREFERRED)}, but {', '.join(files)}: name one of them"
        )
    if not files:
        raise FileNotFoundError(f"{given}: no checkpoint (*.ckpt) and no exported model in it")
    return next(iter(files.values()))


def load_segmenter(
    path: str | Path,
    trusted: tuple[str, ...] = ("microtome.",),
    weights: str | Path | None = None,
) -> Segmenter:
    """Rebuild the segmenter of a training checkpoint, or of a folder of `save_pretrained`.

    Needs nothing but the file, and the file of a backbone that was frozen: no config, no data, no
    network.

    Args:
        path: a local file, checked against `NAME.sha256` beside it, or a folder of
            `save_pretrained`, or what else `checkpoint_in` finds a checkpoint for.
        trusted: prefixes of class paths that the checkpoint may name.
        weights: the file of a frozen backbone, or a folder that holds it; it is looked for beside
            the checkpoint, in $MICROTOME_WEIGHTS and in the Hugging Face cache as well.

    Raises FileNotFoundError, also for a frozen backbone's file, CorruptFileError when the file is
    damaged, and ValueError for URLs, for files that are no checkpoints of microtome, and for
    folders with several.
    """
    if "://" in str(path):
        raise ValueError(f"{path}: checkpoints are read from local files only; download it first")
    file = checkpoint_in(path)
    if file.is_dir():
        return Segmenter.from_pretrained(file, trusted)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such checkpoint")
    if not is_zipfile(file):
        raise ValueError(f"{file}: not a checkpoint, or one that was cut off")
    verify_file(file)
    content = read_torch(file)
    header = content.get(HEADER)
    if not isinstance(header, dict) or "blueprint" not in header or "state_dict" not in content:
        raise ValueError(f"{file}: not a checkpoint of microtome (no `{HEADER}` section)")
    state = {
        k.removeprefix(PREFIX): v for k, v in content["state_dict"].items() if k.startswith(PREFIX)
    }
    parts = [Frozen(**told) for told in header.get("frozen", ())]
    near = [*([] if weights is None else [Path(weights)]), file.parent]
    more = partial(refill, parts=parts, near=near)
    return Segmenter.restored(header["blueprint"], state, _usage(header), trusted, more)


def _usage(header: dict[str, Any]) -> dict[str, Any]:
    """The model's own usage, else at least the tiles that validation used."""
    usage: dict[str, Any] = header.get("usage") or header.get("tiling") or {}
    return usage
