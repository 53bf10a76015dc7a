"""microtome VERB …: the door. Nothing heavy is imported before the verb is known."""

from __future__ import annotations

import importlib
import os
import sys

from .. import __version__

VERBS = {
    "fit": "train a segmenter from images with masks",
    "validate": "score a checkpoint on its validation images",
    "predict": "segment images with a checkpoint: masks, overlays, metrics",
    "evaluate": "score a checkpoint, or label maps of any program: all metrics, a page of pictures",
    "export": "a checkpoint as a folder to share: safetensors and a card",
    "inspect": "open every file of a data set and report all problems at once",
    "ingest": "a folder of volumes as OME-Zarr, with a database of what is known of them",
    "download": "fetch a public data set: ade20k, lunghist700",
    "models": "list pathology foundation models, or explain one and how to get its weights",
    "convert-config": "a config of another program as one of microtome's",
    "demo": "generate tissue, train, predict and compare, in a few minutes",
    "doctor": "say what this machine has, what is missing and what to type",
}
MODULES = {"validate": "fit", "convert-config": "convert_config"}  # not called as the verb is


def main(argv: list[str] | None = None) -> int:
    """Run a command line; return its exit code.

    0 done, 1 done in part, 2 refused, 75 stopped by a signal with a checkpoint to go on from.
    """
    try:
        code = _answer(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _answer(args: list[str]) -> int:
    if args in (["--version"], ["-V"]):
        print(f"microtome {__version__}")
        return 0
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    verb, rest = args[0], args[1:]
    if verb not in VERBS:
        return refuse(f"no verb {verb!r}; there are: {', '.join(VERBS)}")
    module = importlib.import_module(f".{MODULES.get(verb, verb)}", __name__)
    try:
        return int(module.main(verb, rest))
    except KeyboardInterrupt:
        return refuse("interrupted", code=130)


def usage() -> str:
    """The first help page."""
    verbs = "\n".join(f"  {verb:<16}{what}" for verb, what in VERBS.items())
    return f"""usage: microtome VERB [options]

{verbs}

  microtome demo                              see it work
  microtome fit --config my.yaml              train
  microtome predict --ckpt_path runs/my/checkpoints/best.ckpt --input images --output out

`microtome VERB --help` says more; `microtome --version` the version."""


def refuse(message: str, code: int = 2) -> int:
    """Print one message for a person to stderr and return the exit code."""
    print(f"microtome: {message}", file=sys.stderr)
    return code
