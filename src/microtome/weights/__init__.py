"""Foreign weights into our parts: read without running code, matched by name, reported strictly."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from .inflation import adapted, with_new_axes
from .reading import State, read_state, read_torch, weights_file

__all__ = [
    "KeyMap",
    "LoadReport",
    "State",
    "load_weights",
    "read_state",
    "read_torch",
    "weights_file",
    "with_new_axes",
]

KeyMap = Sequence[tuple[str, str]]  # (regular expression, replacement); the first that matches wins


class LoadReport(NamedTuple):
    """What became of every key.

    Attributes:
        matched: keys of the part that were loaded as they are.
        adapted: keys of the part whose tensors were made to fit, with both shapes.
        mismatched: keys of the part whose shape differs from the file's, with both shapes.
        missing: keys of the part that the file does not have.
        unused: keys of the file that the part does not have.
    """

    matched: tuple[str, ...]
    adapted: tuple[str, ...]
    mismatched: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def share(self) -> float:
        """The part of the module's tensors that were loaded, 0…1."""
        loaded = len(self.matched) + len(self.adapted)
        total = loaded + len(self.mismatched) + len(self.missing)
        return loaded / total if total else 1.0

    def __str__(self) -> str:
        """How many of each kind, and the first of those that found no partner."""
        parts = [f"{len(self.matched)} matched"]
        for name in ("adapted", "mismatched", "missing", "unused"):
            keys = getattr(self, name)
            if keys:
                shown = f"{', '.join(keys[:5])}{', …' * (len(keys) > 5)}"
                parts.append(f"{len(keys)} {name}: {shown}")
        return "; ".join(parts)


def load_weights(
    part: nn.Module,
    state: Mapping[str, Tensor],
    key_map: KeyMap = (),
    at_least: float = 0.95,
    adapt: bool = False,
    only: Collection[str] | None = None,
) -> LoadReport:
    """Load what fits into `part`, or nothing when that is too little.

    Args:
        part: the module to fill.
        state: tensors by their foreign names.
        key_map: how foreign names become ours.
        at_least: the share of the part's tensors that must be found, 0…1.
        adapt: make weights of images fit other channels, position grids and numbers of axes, as
            `weights.inflation` says.
        only: the part's tensors to fill; all by default.

    Raises ValueError, naming the first keys that found no partner, when it is less.
    """
    named = _renamed(state, key_map)
    own = {k: v for k, v in part.state_dict().items() if only is None or k in only}
    fits = {k: named[k] for k in own if k in named}
    if adapt:
        fits = {k: _made_to_fit(part, k, v, own[k]) for k, v in fits.items()}
    fitting = [k for k, v in fits.items() if v.shape == own[k].shape]
    report = LoadReport(
        matched=tuple(k for k in fitting if named[k].shape == own[k].shape),
        adapted=tuple(_shapes(k, named, own) for k in fitting if named[k].shape != own[k].shape),
        mismatched=tuple(_shapes(k, named, own) for k in fits if k not in {*fitting}),
        missing=tuple(k for k in own if k not in named),
        unused=tuple(k for k in named if k not in own),
    )
    if report.share < at_least:
        raise ValueError(
            f"only {report.share:.0%} of the tensors were found, {at_least:.0%} are expected; "
            f"{report}"
        )
    part.load_state_dict({k: fits[k] for k in fitting}, strict=False)
    return report


def _made_to_fit(part: nn.Module, key: str, value: Tensor, own: Tensor) -> Tensor:
    if value.shape == own.shape:
        return value
    return adapted(value, own, part.get_submodule(key.rpartition(".")[0]))


def _shapes(key: str, named: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    return f"{key} {[*named[key].shape]} for {[*own[key].shape]}"


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
