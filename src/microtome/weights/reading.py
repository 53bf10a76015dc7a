"""Weights of files: read without running code, unwrapped from what trainers nest them in."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

State = dict[str, Tensor]

_NAMES = ("model.safetensors", "pytorch_model.bin", "model.pth", "pytorch_model.pth")
_NESTS = ("state_dict", "model_state_dict", "model", "teacher", "student")
_TORCH = (b"PK", b"\x80")  # an archive; before torch 1.6, a pickle
_PREFIXES = ("module.", "_orig_mod.")  # left by DistributedDataParallel and torch.compile


def read_state(path: str | Path) -> State:
    """Read tensors by name from a local file, or from a folder that holds one.

    Safetensors, or a torch file (.pth, .pt, .bin, .ckpt) that holds nothing but tensors and plain
    data. A state nested under `state_dict`, `model` or `teacher` is unwrapped, and the prefixes of
    DistributedDataParallel and torch.compile are stripped.

    Raises ValueError for a URL, for a file that could run code, and for one without tensors;
    FileNotFoundError when there is nothing to read.
    """
    file = weights_file(path)
    content = _read_safetensors(file) if file.suffix == ".safetensors" else read_torch(file)
    state = {_stripped(k): v for k, v in _unwrapped(content).items() if isinstance(v, Tensor)}
    if not state:
        raise ValueError(
            f"{file}: there are no weights in it, only {sorted(map(str, content))[:5]}"
        )
    return state


def read_torch(file: Path) -> dict[str, Any]:
    """Read a torch file that holds a dictionary of tensors and plain data, running no code from it.

    Raises ValueError for anything else.
    """
    with file.open("rb") as opened:
        start = opened.read(40)
    if not start.startswith(_TORCH):  # torch takes any byte for the first of a pickle
        raise ValueError(f"{file}: not a torch file: it begins with {start!r}")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file}: refused, because it is not a torch file of tensors and plain data only, and "
            "reading anything else could run code; convert it to safetensors where you trust it"
        ) from error
    except (RuntimeError, EOFError, OSError, LookupError) as error:
        raise ValueError(f"{file}: not a readable torch file ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: expected tensors by name, got {type(content).__name__}")
    return content


def weights_file(path: str | Path) -> Path:
    """Return the file that holds weights: the path itself, or the one in that folder.

    Raises ValueError for a URL and FileNotFoundError when there is nothing.
    """
    if "://" in str(path):
        raise ValueError(f"{path}: weights are read from local files only; download it first")
    file = Path(path)
    if file.is_dir():
        found = [file / n for n in _NAMES if (file / n).is_file()]
        if not found:
            raise FileNotFoundError(f"{file}: the folder has none of {', '.join(_NAMES)}")
        return found[0]
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such weights file")
    return file


def _read_safetensors(file: Path) -> dict[str, Any]:
    try:
        return dict(load_file(file))
    except SafetensorError as error:
        raise ValueError(f"{file}: not a readable safetensors file ({error})") from error


def _unwrapped(content: Mapping[str, Any]) -> Mapping[str, Any]:
    for nest in _NESTS:
        inner = content.get(nest)
        if isinstance(inner, Mapping):
            return _unwrapped(inner)
    return content


def _stripped(key: str) -> str:
    for prefix in _PREFIXES:
        if key.startswith(prefix):
            return _stripped(key.removeprefix(prefix))
    return key
