"""Foreign weights into our parts: read without running code, matched by name, reported strictly."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

KeyMap = Sequence[tuple[str, str]]  # (regular expression, replacement); the first that matches wins
State = dict[str, Tensor]

_NAMES = ("model.safetensors", "pytorch_model.bin", "model.pth", "pytorch_model.pth")
_NESTS = ("state_dict", "model_state_dict", "model", "teacher", "student")
_PREFIXES = ("module.", "_orig_mod.")  # left by DistributedDataParallel and torch.compile


class LoadReport(NamedTuple):
    """What became of every key.

    Attributes:
        matched: keys of the part that were loaded.
        mismatched: keys of the part whose shape differs from the file's, with both shapes.
        missing: keys of the part that the file does not have.
        unused: keys of the file that the part does not have.
    """

    matched: tuple[str, ...]
    mismatched: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def share(self) -> float:
        """The part of the module's tensors that were loaded, 0…1."""
        total = len(self.matched) + len(self.mismatched) + len(self.missing)
        return len(self.matched) / total if total else 1.0


def read_state(path: str | Path) -> State:
    """Read tensors by name from a local file, or from a folder that holds one.

    Safetensors, or a torch file (.pth, .pt, .bin, .ckpt) that holds nothing but tensors and plain
    data. A state nested under `state_dict`, `model` or `teacher` is unwrapped, and the prefixes of
    DistributedDataParallel and torch.compile are stripped.

    Raises ValueError for a URL, for a file that could run code, and for one without tensors;
    FileNotFoundError when there is nothing to read.
    """
    file = _weights_file(path)
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
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file}: refused, because it is not a torch file of tensors and plain data only, and "
            "reading anything else could run code; convert it to safetensors where you trust it"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{file}: not a readable torch file ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: expected tensors by name, got {type(content).__name__}")
    return content


def load_weights(
    part: nn.Module, state: Mapping[str, Tensor], key_map: KeyMap = (), at_least: float = 0.95
) -> LoadReport:
    """Load what fits into `part`, or nothing when that is too little.

    Args:
        part: the module to fill.
        state: tensors by their foreign names.
        key_map: how foreign names become ours.
        at_least: the share of the part's tensors that must be found, 0…1.

    Raises ValueError, naming the first keys that found no partner, when it is less.
    """
    named = _renamed(state, key_map)
    own = part.state_dict()
    shared = [k for k in own if k in named]
    fitting = [k for k in shared if named[k].shape == own[k].shape]
    differing = [k for k in shared if named[k].shape != own[k].shape]
    report = LoadReport(
        matched=tuple(fitting),
        mismatched=tuple(f"{k} {[*named[k].shape]} for {[*own[k].shape]}" for k in differing),
        missing=tuple(k for k in own if k not in named),
        unused=tuple(k for k in named if k not in own),
    )
    if report.share < at_least:
        raise ValueError(_complaint(report, at_least))
    part.load_state_dict({k: named[k] for k in fitting}, strict=False)
    return report


def _weights_file(path: str | Path) -> Path:
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


def _renamed(state: Mapping[str, Tensor], key_map: KeyMap) -> State:
    named: State = {}
    for key, value in state.items():
        new = _mapped(key, key_map)
        if new in named:
            raise ValueError(
                f"the key map gives the name {new!r} twice, the second time to {key!r}"
            )
        named[new] = value
    return named


def _mapped(key: str, key_map: KeyMap) -> str:
    for pattern, replacement in key_map:
        new, times = re.subn(pattern, replacement, key)
        if times:
            return new
    return key


def _complaint(report: LoadReport, at_least: float) -> str:
    parts = [f"only {report.share:.0%} of the tensors were found, {at_least:.0%} are expected"]
    for name in ("mismatched", "missing", "unused"):
        keys = getattr(report, name)
        if keys:
            parts.append(f"{len(keys)} {name}: {', '.join(keys[:5])}{', …' * (len(keys) > 5)}")
    return "; ".join(parts)
