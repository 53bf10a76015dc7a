"""What the suites share: seeds, compiled twins, rebuilt twins, closeness."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..blueprint import build


def seeded() -> torch.Generator:
    """The same chance for every test."""
    return torch.Generator().manual_seed(0)


def without_gradient(part: nn.Module) -> list[str]:
    """Names of trainable parameters that backward did not reach."""
    return [n for n, p in part.named_parameters() if p.requires_grad and p.grad is None]


def compiled(part: nn.Module) -> Any:
    """The part as one graph, without code generation; a break is an error."""
    torch.compiler.reset()
    return torch.compile(part, fullgraph=True, backend="aot_eager")


def rebuilt(part: Any) -> Any:
    """A twin from the part's blueprint, through JSON, with its weights."""
    twin = build(json.loads(json.dumps(part.blueprint)), ("",))
    assert twin.blueprint == part.blueprint
    twin.load_state_dict(part.state_dict())
    return twin.eval()


def assert_close(ours: Sequence[Any], theirs: Sequence[Any], exact: bool = False) -> None:
    """Compare tensors pair by pair."""
    tolerance = 0.0 if exact else 1e-4
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)
