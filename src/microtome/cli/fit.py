"""`microtome fit` and `microtome validate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from . import refuse
from .compose import ComposeError, compose
from .words import Words, sort_words

HELP = Path(__file__).with_name("help_fit.txt")
START = "--ckpt_path="


def main(verb: str, args: list[str]) -> int:
    """Compose, then run; a mistake in composing is answered without importing torch."""
    if args in (["-h"], ["--help"]):
        print(HELP.read_text())
        return 0
    try:
        words = sort_words(args)
        if verb == "fit":
            words = _run_again(words)
        if verb == "fit" and words.config is None:
            return refuse("fit needs --config FILE or NAME (try `--config demo`)")
        config = compose(words.config, words.overrides) if words.config else None
    except ComposeError as error:
        return refuse(str(error))
    return _run(verb, config, words)


def _run_again(words: Words) -> Words:
    """Without a config, a run's folder that is gone on from stands for its config and its name."""
    starts = [Path(word.removeprefix(START)) for word in words.flags if word.startswith(START)]
    if words.config is not None or not starts or not (starts[-1] / "config.yaml").is_file():
        return words
    folder = starts[-1].resolve()
    place = [f"--runs={folder.parent}", f"--name={folder.name}"]
    return Words(str(folder / "config.yaml"), words.overrides, place + words.flags)


def _run(verb: str, config: dict[str, Any] | None, words: Words) -> int:
    from ..training.advice import RunError
    from ..training.parser import ConfigError
    from ..training.run import leads, run
    from ..training.signals import EXIT_CODE, StoppedError
    from .speak import print_metrics, speak

    speak()
    try:
        if verb == "validate":
            words = _in_folders(words)
        if config is None:
            config = _stored_config(words)
        done = run(verb, config, words.flags)
    except ConfigError as error:
        return refuse(str(error))
    except RunError as error:
        return refuse(str(error), code=1)
    except StoppedError as stopped:  # one process speaks; Lightning kills all when another fails
        return refuse(str(stopped), code=EXIT_CODE) if leads() else 0
    if verb == "validate":
        print_metrics(done.metrics, done.module.model.classes)
    sys.stdout.flush()
    return 0


def _in_folders(words: Words) -> Words:
    """Let a run's folder stand for the checkpoint in it, as `predict` does."""
    from ..models import checkpoint_in
    from ..training.parser import ConfigError

    try:
        flags = [
            f"{START}{checkpoint_in(word.removeprefix(START))}"
            if word.startswith(START) and Path(word.removeprefix(START)).is_dir()
            else word
            for word in words.flags
        ]
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    return words._replace(flags=flags)


def _stored_config(words: Words) -> dict[str, Any]:
    """Return the config that a checkpoint holds: `validate --ckpt_path X` needs nothing else."""
    from ..training.parser import ConfigError
    from ..training.stored import as_built, read_header

    given = [flag for flag in words.flags if flag.startswith(START)]
    if not given:
        raise ConfigError("validate needs --ckpt_path FILE (and --config to use another config)")
    if words.overrides:
        raise ConfigError(f"{words.overrides[0]}: without --config, write --{words.overrides[0]}")
    try:
        return as_built(read_header(Path(given[0].partition("=")[2])))
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
