"""Which parameters decay."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Split trainable parameters in two groups: matrices and kernels decay, the rest does not.

    Norms, biases, tokens and positions have at most one axis longer than 1; shrinking them towards
    zero changes what the network computes without making it simpler.

    Raises ValueError when nothing is trainable.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("nothing to train: every parameter is frozen")
    decaying = [p for p in trainable if sum(s > 1 for s in p.shape) > 1]
    chosen = {id(p) for p in decaying}
    rest = [p for p in trainable if id(p) not in chosen]
    groups: list[dict[str, Any]] = [{"params": decaying}, {"params": rest, "weight_decay": 0.0}]
    return [g for g in groups if g["params"]]
