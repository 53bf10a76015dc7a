"""Weights that transformers, and networks like them, begin from."""

from __future__ import annotations

from torch import nn

Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear


def draw_weights(model: nn.Module, *kinds: type[Layer]) -> None:
    """Truncated normal of deviation 0.02 for the weights of layers of these kinds, biases zero."""
    for module in model.modules():
        if isinstance(module, kinds):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
