"""Sorts the words of a command line that starts or validates a run. No torch."""

from __future__ import annotations

from typing import NamedTuple

from .compose import ComposeError, is_override

ALIASES = {"--config-name": "--config", "-c": "--config", "--resume": "--ckpt_path"}
ALONE = {"--resume": "last"}  # values of options that may stand alone
SWITCHES = {"--fast_dev_run": "--trainer.fast_dev_run=true"}


class Words(NamedTuple):
    """What a command line asks for.

    Attributes:
        config: the config file or its name, None when none was given.
        overrides: `group=option`, `a.b=c`.
        flags: `--key=value` for the checker.
    """

    config: str | None
    overrides: list[str]
    flags: list[str]


def sort_words(args: list[str]) -> Words:
    """Tell config, overrides and flags apart; resolve aliases.

    Raises ComposeError for a word that is none of them.
    """
    configs: list[str] = []
    overrides: list[str] = []
    flags: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if is_override(word):
            overrides.append(word)
            continue
        if not word.startswith("-"):
            raise ComposeError(f"cannot read {word!r}: expected --option, group=option or a.b=c")
        name, equals, value = word.partition("=")
        alone, name = ALONE.get(name), ALIASES.get(name, name)
        if name in SWITCHES and not equals:
            flags.append(SWITCHES[name])
            continue
        if not equals and rest and not rest[0].startswith("-") and not is_override(rest[0]):
            equals, value = "=", rest.pop(0)
        elif not equals and alone:
            equals, value = "=", alone
        if name == "--config":
            configs.append(value)
        elif name == "--device":
            flags += device_flags(value)
        else:
            flags.append(
                f"{SWITCHES[name].split('=')[0] if name in SWITCHES else name}{equals}{value}"
            )
    if len(configs) > 1:
        raise ComposeError(f"expected one --config, got {configs}; a file inherits by `defaults:`")
    return Words(configs[0] if configs else None, overrides, flags)


def device_flags(device: str) -> list[str]:
    """`cpu`, `cuda`, `cuda:0`, `mps` as flags of the trainer.

    Raises ComposeError for anything else.
    """
    return [f"--trainer.{key}={value}" for key, value in trainer_of(device).items()]


def trainer_of(device: str) -> dict[str, str | int | list[int]]:
    """`cpu`, `cuda`, `cuda:0`, `mps` in the trainer's words.

    Raises ComposeError for anything else.
    """
    kind, _, number = device.partition(":")
    accelerators = {"cpu": "cpu", "cuda": "gpu", "mps": "mps"}
    if kind not in accelerators or (number and not number.isdigit()):
        raise ComposeError(f"--device: expected cpu, cuda, cuda:0 or mps, got {device!r}")
    return {"accelerator": accelerators[kind], "devices": [int(number)] if number else 1}
