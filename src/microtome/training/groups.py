"""Which parameters decay, and at which rate each learns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import nn

from ..backbones import TokenBackbone
from ..backbones.low_rank import is_added

BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")
LAST = re.compile(r"(?:^|\.)(?:fc_)?norm\.")

Groups = list[dict[str, Any]]


class Kind(NamedTuple):
    """What the parameters of a group share."""

    part: str
    lr_factor: float
    decays: bool


def parameter_groups(
    model: nn.Module, backbone_lr: float = 1.0, layer_decay: float = 1.0
) -> Groups:
    """Split the trainable parameters by rate and by whether they decay.

    The weights of layers decay where they are matrices or kernels. Norms, biases, tokens, queries,
    positions and tables do not: shrinking them towards zero changes what the network computes
    without making it simpler.

    A group has a `name`, `lr_factor` (its rate in the base rate) and, where nothing decays,
    `weight_decay: 0`. Of a backbone around a transformer, such as an adapter, only the transformer
    counts as backbone: the rest is new, and so are thin matrices beside its weights.

    Args:
        model: its `backbone`, if it has one, is what the two factors are for.
        backbone_lr: the backbone's rate in that of everything else.
        layer_decay: the rate of a transformer's block in that of the block after it (Bao et al.,
            "BEiT", 2022).

    Raises ValueError when nothing is trainable, for factors out of range, and for `layer_decay`
    without a plain transformer.
    """
    if not (backbone_lr > 0 and 0 < layer_decay <= 1):
        raise ValueError(
            "expected backbone_lr > 0 and layer_decay above 0 and up to 1, "
            f"got {backbone_lr} and {layer_decay}"
        )
    factors = _backbone_factors(model, backbone_lr, layer_decay)
    found: dict[Kind, list[nn.Parameter]] = {}
    for owner, name, p in _trainable(model):
        part = "backbone" if p in factors else "head"
        kind = Kind(part, factors.get(p, 1.0), _decays(owner, name, p))
        found.setdefault(kind, []).append(p)
    if not found:
        raise ValueError("nothing to train: every parameter is frozen")
    return [_group(kind, params) for kind, params in found.items()]


def _group(kind: Kind, params: list[nn.Parameter]) -> dict[str, Any]:
    rate = "" if kind.lr_factor == 1 else f" x {kind.lr_factor:.3g}"
    name = f"{kind.part}{rate}{'' if kind.decays else ', no decay'}"
    group = {"params": params, "name": name, "lr_factor": kind.lr_factor}
    return group if kind.decays else {**group, "weight_decay": 0.0}


def _trainable(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """Each trainable parameter once, with the module it belongs to and its name there."""
    seen = set()
    for owner in model.modules():
        for name, p in owner.named_parameters(recurse=False):
            if p.requires_grad and p not in seen:
                seen.add(p)
                yield owner, name, p


def _decays(owner: nn.Module, name: str, p: nn.Parameter) -> bool:
    table = isinstance(owner, nn.Embedding | nn.EmbeddingBag)
    return "weight" in name and not table and sum(size > 1 for size in p.shape) > 1


def _backbone_factors(
    model: nn.Module, backbone_lr: float, layer_decay: float
) -> dict[nn.Parameter, float]:
    """The factor of each parameter of the backbone."""
    backbone = getattr(model, "backbone", None)
    if backbone is None:
        return {}
    vit = next((m for m in backbone.modules() if isinstance(m, TokenBackbone)), None)
    if vit is None:
        if layer_decay < 1:
            raise ValueError(
                f"layer_decay is for plain vision transformers, not for {type(backbone).__name__}"
            )
        return dict.fromkeys(backbone.parameters(), backbone_lr)
    return {
        p: backbone_lr * layer_decay ** (vit.depth + 1 - _layer(name, vit.depth))
        for name, p in vit.named_parameters()
        if not is_added(name)
    }


def _layer(name: str, depth: int) -> int:
    """0 for patches, tokens and positions, 1 to `depth` for blocks, one more for the last norm."""
    if block := BLOCK.search(name):
        return int(block[1]) + 1
    return depth + 1 if LAST.search(name) else 0
