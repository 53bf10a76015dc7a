"""Activation checkpointing (Chen et al. 2016), applied to a finished model from outside.

Blocks keep their inputs only and compute what is between again in the backward pass: about a third
more time for much less memory. Numbers stay the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute_blocks(model: nn.Module) -> int:
    """Have the repeated blocks of a model recompute; return how many.

    Weights keep their names. Blocks with batch normalisation are left alone: computed twice, they
    would count each batch twice.
    """
    blocks = list(_repeated(model))
    for block in blocks:
        block.__class__ = _recomputing(type(block))
    return len(blocks)


def _repeated(part: nn.Module) -> Iterator[nn.Module]:
    """The outermost blocks that stand in a row with others of their class."""
    for child in part.children():
        in_a_row = isinstance(part, nn.ModuleList | nn.Sequential)
        alike = sum(type(other) is type(child) for other in part.children()) > 1
        if in_a_row and alike and _is_block(child):
            yield child
        else:
            yield from _repeated(child)


def _is_block(part: nn.Module) -> bool:
    if not any(p.requires_grad for p in part.parameters()) or not any(part.children()):
        return False
    return not any(isinstance(inner, _BatchNorm) for inner in part.modules())


def _recomputing(block: type[nn.Module]) -> type[nn.Module]:
    """A subclass, so that copies of a block are blocks like it."""

    def forward(self: Any, *args: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return block.forward(self, *args, **options)
        return checkpoint(block.forward, self, *args, use_reentrant=False, **options)

    return type(block.__name__, (block,), {"forward": forward})
