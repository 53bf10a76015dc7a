"""Frozen weights are named in a checkpoint, not copied into it, and found again when it is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub.constants import HF_HUB_CACHE
from torch import Tensor, nn

from ..backbones import Backbone
from ..files import sha256

FOLDERS = "MICROTOME_WEIGHTS"  # environment variable: folders to search, separated as in PATH
State = dict[str, Tensor]


class Frozen(NamedTuple):
    """A part of a model whose weights are those of a file.

    Attributes:
        prefix: of its names in the model's state, with the dot.
        name: what it is called where it was published.
        sha256: of the file.
        path: where the file was.
    """

    prefix: str
    name: str
    sha256: str
    path: str


def frozen_parts(model: nn.Module) -> list[Frozen]:
    """The backbones in a model that are frozen as they came from a file."""
    named = {n: m.named_weights for n, m in model.named_modules() if isinstance(m, Backbone)}
    return [Frozen(prefix=f"{name}.", **told) for name, told in named.items() if told is not None]


def without(
    state: Mapping[str, Any], model: nn.Module, parts: Sequence[Frozen], before: str = ""
) -> dict[str, Any]:
    """The model's state without what files hold; `before` stands before all its names."""
    held = {before + part.prefix + key for part in parts for key in _of(model, part).named_keys}
    return {k: v for k, v in state.items() if k not in held}


def refill(model: nn.Module, parts: Sequence[Frozen], near: Sequence[Path] = ()) -> State:
    """Load the named weights into a model that lacks them, and return them by the model's names.

    Args:
        model: built from its blueprint; parts that read their file when they were built stay.
        parts: what the checkpoint names.
        near: files, or folders to search before all others; such as the checkpoint's own.

    Raises FileNotFoundError saying what is missing and where it was looked for, and ValueError when
    the model was built with another file.
    """
    state: State = {}
    for part in parts:
        backbone = _of(model, part)
        told = backbone.named_weights
        if told is not None and told["sha256"] != part.sha256:
            raise ValueError(
                f"{told['path']}: not the file that the checkpoint was trained on; that is "
                f"{part.name}, sha256 {part.sha256}, last seen as {part.path}"
            )
        if told is None:
            backbone.refill(find(part, near))
        inner = backbone.state_dict()
        state |= {part.prefix + k: inner[k] for k in backbone.named_keys}
    return state


def find(part: Frozen, near: Sequence[Path] = ()) -> Path:
    """Return the file of that sha256: where it was, in `near`, in MICROTOME_WEIGHTS, in the cache.

    Raises FileNotFoundError saying what is missing and where it was looked for.
    """
    others = []
    for path in _candidates(part, near):
        if sha256(path) == part.sha256:
            return path
        others.append(str(path))
    folders = [*map(str, near), f"the folders in ${FOLDERS}", f"the cache {HF_HUB_CACHE}"]
    told = f"; others by their sha256: {', '.join(others)}" if others else ""
    raise FileNotFoundError(
        f"the frozen weights of {part.name} are missing: a file of sha256 {part.sha256}. Looked "
        f"for as {part.path}, and by the name {Path(part.path).name} in {', '.join(folders)}{told}"
        ". Put it into one of these, or say where it is (predict, evaluate, export: --weights)"
    )


def _of(model: nn.Module, part: Frozen) -> Backbone:
    backbone = model.get_submodule(part.prefix.removesuffix("."))
    assert isinstance(backbone, Backbone)
    return backbone


def _candidates(part: Frozen, near: Sequence[Path]) -> Iterator[Path]:
    """Files that may be it, each once."""
    last = Path(part.path)
    variable = [Path(word) for word in os.environ.get(FOLDERS, "").split(os.pathsep) if word]
    seen = set()
    for place in (last, *near, *variable):
        below = sorted(place.rglob(last.name)) if place.is_dir() else [place]
        for file in below:
            if file.is_file() and file.resolve() not in seen:
                seen.add(file.resolve())
                yield file
    # the cache keeps large files under their sha256, and links to them under their names
    for file in sorted(Path(HF_HUB_CACHE).glob(f"models--*/snapshots/*/**/{last.name}")):
        if file.resolve().name == part.sha256:
            yield file
