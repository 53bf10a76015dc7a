"""`microtome convert-config`: the config of another program as an experiment file. No torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..files import whole
from . import refuse
from .compose import ComposeError, read
from .conversion import pfm
from .conversion.made import Converted, OldConfigError

DESCRIPTION = """Writes the config of another program in microtome's words: an experiment file, for
`microtome fit --config`. Every key is carried over, or listed with the reason; an unknown key or a
wrong value is refused, all of them at once. pfm: PFM_Segmentation, the fine-tuning suite for
pathology foundation models (docs/how-to/coming_from.md)."""
PROGRAMS = {"pfm": pfm.convert}


def main(verb: str, args: list[str]) -> int:
    """Parse, convert, write, tell."""
    given = _parser(verb).parse_args(args)
    out: Path | None = given.out
    if out is not None and out.suffix != ".yaml":
        return refuse(f"--out: expected a name that ends with .yaml, got {out}")
    if out is not None and out.exists():
        return refuse(f"{out}: it is there already")
    try:
        made = PROGRAMS[given.program](read(given.file))
        if out is not None:
            with whole(out) as part:
                part.write_text(made.text(given.file.name))
    except (ComposeError, OldConfigError, OSError) as error:
        told = str(error)
        return refuse(told if str(given.file) in told else f"{given.file}: {told}")
    if out is None:
        print(made.text(given.file.name), end="")
        return 0
    _report(made, out)
    return 0


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"microtome {verb}", description=DESCRIPTION)
    parser.add_argument("program", choices=tuple(PROGRAMS), help="whose config it is")
    parser.add_argument("file", type=Path, help="the old config, YAML")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write, else printed")
    return parser


def _report(made: Converted, out: Path) -> None:
    width = max(map(len, (*made.became, *made.left)))
    for key, ours in made.became.items():
        print(f"{key:<{width}}  {ours}")
    for key, why in made.left.items():
        print(f"{key:<{width}}  - ({why})")
    print(f"written: {out}; `microtome fit --config {out}` runs it")
