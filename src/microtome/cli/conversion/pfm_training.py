"""Optimiser and loss of a config of PFM_Segmentation in our words."""

from __future__ import annotations

from typing import Any

from .made import Converted
from .old_keys import OldKeys, number, one_of, switch

OPTIMIZER = "model.optimizer.init_args"
HEAD = "model.segmenter.init_args.head.init_args"
SECTION, LOSS = "training.optimizer", "training.loss"
DECAYS = ("training.weight_decay", f"{SECTION}.weight_decay")  # both were read by some version
MOMENTA = ("training.momentum", f"{SECTION}.momentum")
LOSSES = {
    "cross_entropy": "ce",
    "ce": "ce",
    "dice": "dice",
    "ohem": "ohem",
    "iou": "iou",
    "bce_with_logits": "bce",
    "bce": "bce",
}
OPTIONS = {  # of losses, and where they stand here
    "dice_smooth": ("dice", "smooth"),
    "iou_smooth": ("iou", "smooth"),
    "ohem_thresh": ("ohem", "fraction"),
    "ohem_min_kept": ("ohem", "least"),
}
DROPPED = {
    f"{LOSS}.ohem_base_loss": "it is cross-entropy",
    f"{LOSS}.pos_weight": "binary cross-entropy weighs what is there and what is not alike",
}
TRAINING_KEYS = (
    *(f"{SECTION}.{key}" for key in ("type", "nesterov", "betas", "eps")),
    *(*DECAYS, *MOMENTA),
    *(f"{LOSS}.{key}" for key in ("type", "class_weights", *OPTIONS)),
    *DROPPED,
)


def convert_optimizer(old: OldKeys, made: Converted) -> None:
    """Carry over which optimiser, and its settings."""
    chosen = old.read(f"{SECTION}.type", one_of(("sgd", "adam", "adamw")))
    if chosen is not None:
        made.choose(f"{SECTION}.type", "optimizer", chosen)
    _either(old, made, DECAYS, "weight_decay", True)
    sgd = chosen == "sgd"
    _either(old, made, MOMENTA, "momentum", sgd)
    checks = {"nesterov": (switch, sgd), "betas": (_betas, not sgd), "eps": (number, not sgd)}
    for name, (check, has) in checks.items():
        key = f"{SECTION}.{name}"
        if key in old and has:
            made.put(key, f"{OPTIMIZER}.{name}", old.read(key, check))
        elif key in old:
            made.left[key] = "SGD has none" if sgd else "only SGD has it"


def convert_loss(old: OldKeys, made: Converted) -> None:
    """Carry over which loss, and its settings."""
    kind = old.read(f"{LOSS}.type", one_of(LOSSES), "cross_entropy")
    if f"{LOSS}.type" in old:
        made.choose(f"{LOSS}.type", "loss", LOSSES[kind])
    for name, (loss, option) in OPTIONS.items():
        key = f"{LOSS}.{name}"
        if key in old and LOSSES[kind] == loss:
            made.put(key, f"{HEAD}.options.{loss}.{option}", old.read(key, number))
        elif key in old:
            made.left[key] = f"of {loss} only, not of {kind}"
    weights = f"{LOSS}.class_weights"
    if weights in old and LOSSES[kind] == "ce":
        made.put(weights, f"{HEAD}.class_weights", old.read(weights, _weights))
    elif weights in old:
        made.left[weights] = f"{kind} takes none"
    made.left.update({key: why for key, why in DROPPED.items() if key in old})


def _either(old: OldKeys, made: Converted, keys: tuple[str, ...], ours: str, has: bool) -> None:
    """One setting that stands under one of two keys, or under both alike."""
    found = {key: old.read(key, number) for key in keys if key in old}
    if has and len(set(found.values())) > 1:
        old.problems.append(" and ".join(f"{key}: {n}" for key, n in found.items()) + " differ")
    for key, value in found.items():
        if has:
            made.put(key, f"{OPTIMIZER}.{ours}", value)
        else:
            made.left[key] = "only SGD has it"


def _weights(value: Any) -> list[float] | None:
    if value is not None and not isinstance(value, list):
        raise ValueError("a number for each class")
    return None if value is None else [number(v) for v in value]


def _betas(value: Any) -> list[float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("two numbers")
    return [number(v) for v in value]
