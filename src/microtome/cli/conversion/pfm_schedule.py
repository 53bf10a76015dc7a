"""The schedule of a config of PFM_Segmentation in our words: epochs become parts of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .made import Converted
from .old_keys import Check, OldKeys, number, one_of, whole

SCHEDULER, RATE = "model.scheduler.init_args", "model.optimizer.init_args.lr"
SECTION = "training.scheduler"
LEFT: Mapping[str, str] = {
    "T_max": "a cosine ends where the run does",
    "total_epochs": "it ends where the run does",
    "total_steps": "it ends where the run does",
    "mode": "`monitor` says which way is better",
    "threshold": "`min_change` says it in the metric's own unit",
    "anneal_strategy": "it rises and falls in half a cosine",
}
WAVES = {"triangular": 1.0, "triangular2": 0.5}  # how high each is in that of the one before


class Length(NamedTuple):
    """What numbers of the old config are relative to."""

    epochs: int
    rate: float


class Rule(NamedTuple):
    """An old key's place among ours, how it is checked, and how the value is told here."""

    ours: str
    check: Check
    told: Callable[[Any, Length], Any] = lambda value, length: value


def _part(value: float, length: Length) -> float:
    if value >= length.epochs:
        raise ValueError(f"fewer epochs than training.epochs, {length.epochs}")
    return round(value / length.epochs, 6)


def _parts(value: list[float], length: Length) -> list[float]:
    """What lies behind the run's end never comes."""
    return [_part(epoch, length) for epoch in value if epoch < length.epochs]


def _epochs(value: Any) -> list[float]:
    if not isinstance(value, list):
        raise ValueError("a list of epochs")
    return [number(epoch) for epoch in value]


def _above_0(value: Any) -> float:
    found = number(value)
    if not found:
        raise ValueError("a number above 0")
    return found


def _inverse(value: float, length: Length) -> float:
    return 1 / value


WARM_UP = Rule("warmup", number, _part)
GAMMA = Rule("gamma", number)
RULES: Mapping[str, tuple[str, Mapping[str, Rule]]] = {  # to each kind our option and its keys
    "cosine": (
        "cosine",
        {"warmup_epochs": WARM_UP, "min_lr": Rule("final", number, lambda v, n: v / n.rate)},
    ),
    "polynomial": ("poly", {"warmup_epochs": WARM_UP, "power": Rule("power", number)}),
    "step": (
        "step",
        {"warmup_epochs": WARM_UP, "step_size": Rule("every", number, _part), "gamma": GAMMA},
    ),
    "multistep": (
        "multistep",
        {"warmup_epochs": WARM_UP, "milestones": Rule("at", _epochs, _parts), "gamma": GAMMA},
    ),
    "exponential": (
        "exponential",
        {"gamma": Rule("final", _above_0, lambda v, n: v**n.epochs)},
    ),
    "reduce_on_plateau": (
        "plateau",
        {"factor": GAMMA, "patience": Rule("patience", whole(0))},
    ),
    "one_cycle": (
        "one_cycle",
        {
            "pct_start": Rule("warmup", number),
            "div_factor": Rule("start", _above_0, _inverse),
            "final_div_factor": Rule("final", _above_0, _inverse),
        },
    ),
    "cyclic": (
        "cyclic",
        {
            "base_lr": Rule("low", number, lambda v, n: v / n.rate),
            "step_size_up": Rule("period", number, lambda v, n: _part(2 * v, n)),
            "mode": Rule("shrink", one_of(WAVES), lambda v, n: WAVES[v]),
        },
    ),
}
PEAKS = ("one_cycle", "cyclic")  # these say the rate themselves
KEYS = (
    "type",
    "max_lr",
    *dict.fromkeys((*LEFT, *(key for _, rules in RULES.values() for key in rules))),
)
SCHEDULE_KEYS = tuple(f"{SECTION}.{key}" for key in KEYS)


def convert_schedule(old: OldKeys, made: Converted) -> None:
    """Carry over what says the learning rate's course."""
    kind = old.read(f"{SECTION}.type", one_of(RULES), "cosine")
    option, rules = RULES[kind]
    if f"{SECTION}.type" in old:
        made.choose(f"{SECTION}.type", "scheduler", option)
    length = Length(old.need("training.epochs", whole(1)) or 1, _peak(old, made, kind))
    for name in KEYS[2:]:
        key, rule = f"{SECTION}.{name}", rules.get(name)
        if key in old and rule is not None:
            made.put(key, f"{SCHEDULER}.{rule.ours}", old.read(key, _told(rule, length)))
        elif key in old:
            made.left[key] = LEFT.get(name, f"{kind} has no such thing")


def _peak(old: OldKeys, made: Converted, kind: str) -> float:
    """The highest rate; some kinds say it instead of the optimiser."""
    rate, peak = old.read("training.learning_rate", number), f"{SECTION}.max_lr"
    if peak in old and kind in PEAKS:
        rate = old.read(peak, _above_0)
        made.put(peak, RATE, rate)
    elif peak in old:
        made.left[peak] = f"{kind} has no such thing"
    return rate or 1.0


def _told(rule: Rule, length: Length) -> Check:
    return lambda value: rule.told(rule.check(value), length)
