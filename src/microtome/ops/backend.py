"""Backends of an operator: each says why it refuses a call; the first that does not is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

import torch

R = TypeVar("R", covariant=True)  # what an operator returns

_chosen: dict[str, str] = {}  # operator -> the backend that `using` asks for


class Backend(NamedTuple, Generic[R]):
    """One way to compute an operator.

    Attributes:
        name: `reference`, `cpu`, `gpu`.
        run: computes it; an error in here is an error, never a reason to try another backend.
        refusals: the reasons, from the same arguments, why it cannot do this call; else empty.
        tolerance: how far it may be from the reference, per dtype, relative and absolute.
        lacking: what this machine lacks for it; "" when nothing.
    """

    name: str
    run: Callable[..., R]
    refusals: Callable[..., list[str]]
    tolerance: Mapping[torch.dtype, float]
    lacking: str = ""

    def reasons(self, *args: Any) -> list[str]:
        """All reasons against this call on this machine."""
        return [self.lacking] if self.lacking else self.refusals(*args)


def choose(operator: str, backends: Sequence[Backend[R]], *args: Any) -> Backend[R]:
    """Return the first backend that does not refuse, or the one that `using` asks for.

    Raises ValueError when it, or every backend, refuses: with all reasons.
    """
    asked = _chosen.get(operator)
    candidates = [b for b in backends if asked in (None, b.name)]
    for backend in candidates:
        if not backend.reasons(*args):
            return backend
    told = [f"{b.name}: {reason}" for b in candidates for reason in b.reasons(*args)]
    known = ", ".join(b.name for b in backends)
    raise ValueError(f"{operator}: no backend for this call; " + ("; ".join(told) or known))


@contextmanager
def using(**backends: str) -> Iterator[None]:
    """Ask for backends by operator, as in `with using(deform_attn="reference")`; tests do."""
    before = dict(_chosen)
    _chosen.update(backends)
    try:
        yield
    finally:
        _chosen.clear()
        _chosen.update(before)
