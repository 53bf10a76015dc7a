"""Small trained matrices beside frozen ones, by peft, which is imported here and only when used.

LoRA (Hu et al., ICLR 2022) adds a product of two thin matrices to a weight; DoRA (Liu et al., ICML
2024) also trains the length of each of its rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from torch import nn

TARGETS = r"(.*\.)?blocks\.\d+\.(attn\.(qkv|proj)|mlp\.(fc1|fc2|fc1_g|fc1_x))"
_ADDED, _BASE = ".lora_", ".base_layer."  # in peft's names of parameters


class LowRank(NamedTuple):
    """The size of what is trained.

    Attributes:
        rank: columns of the thin matrices.
        alpha: how much they count.
        scale: by which factor: `alpha/rank`, or plain `alpha`.
        dropout: how often an input of theirs is dropped while training.
        targets: a regular expression of the linear layers that get them, matched as a whole.
    """

    rank: int = 16
    alpha: float = 16.0
    scale: Literal["alpha/rank", "alpha"] = "alpha/rank"
    dropout: float = 0.0
    targets: str = TARGETS


def insert(model: nn.Module, sizes: LowRank, lengths: bool) -> None:
    """Freeze all weights and add thin matrices, in place; with `lengths`, DoRA's too.

    Raises ValueError for a rank below 1, and when no linear layer has a name that `targets` matches
    as a whole.
    """
    linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    if sizes.rank < 1 or not any(re.fullmatch(sizes.targets, name) for name in linear):
        raise ValueError(
            f"rank {sizes.rank}, targets {sizes.targets!r}: expected a rank of at least 1, and "
            f"some of the {len(linear)} linear layers, such as {', '.join(linear[:4]) or 'none'}"
        )
    from peft import LoraConfig, inject_adapter_in_model

    # peft divides by the rank
    alpha = sizes.alpha * (sizes.rank if sizes.scale == "alpha" else 1)
    model.requires_grad_(False)
    _ask_layers_not_weights(model)
    config = LoraConfig(
        r=sizes.rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # any number will do
        lora_dropout=sizes.dropout,
        target_modules=sizes.targets,
        use_dora=lengths,
    )
    inject_adapter_in_model(config, model)


def merge(model: nn.Module) -> None:
    """Add the thin matrices to the weights they stand beside, and put the plain layers back."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            model.set_submodule(name, layer.get_base_layer())
    model.__dict__.pop("peft_config", None)


def is_added(name: str) -> bool:
    """Whether a parameter of this name is one of the thin matrices."""
    return _ADDED in name


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """The names of a model without thin matrices, to what they are called beside them."""
    return {name.replace(_BASE, "."): name for name in names if not is_added(name)}


def _ask_layers_not_weights(model: nn.Module) -> None:
    """Have timm's Eva call its layer of queries, keys and values instead of using its weight."""
    for part in model.modules():
        if "qkv_bias_separate" in vars(part):
            vars(part)["qkv_bias_separate"] = True
