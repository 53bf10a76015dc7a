"""`microtome export`: a checkpoint as a folder to share: safetensors, config.json, a model card."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import refuse

DESCRIPTION = """Writes OUTPUT/model.safetensors, config.json, MANIFEST.json (their sha256) and
README.md, a model card to complete. `microtome predict --ckpt_path OUTPUT` and
`Segmenter.from_pretrained("OUTPUT")` take the folder, or its copy on the Hugging Face hub. It holds
all weights, those of a frozen encoder too, with LoRA's or DoRA's put into them, and nothing of the
data or of the optimiser. Nothing is uploaded."""


def main(verb: str, args: list[str]) -> int:
    """Load, write, and tell what licence the encoder has."""
    given = _parser(verb).parse_args(args)
    from ..backbones.licences import warning
    from ..backbones.tuned import Tuned
    from ..files import CorruptFileError
    from ..models import load_segmenter

    try:
        if given.output.exists() and any(given.output.iterdir()):
            raise FileExistsError(f"{given.output}: there is something in it already")
        model = load_segmenter(given.ckpt_path, weights=given.weights)
        for part in model.modules():
            if isinstance(part, Tuned):
                part.merge()
        model.save_pretrained(given.output)
    except (ValueError, OSError, CorruptFileError) as error:
        return refuse(str(error))
    print(f"written: {given.output}; complete its card, README.md, before you share it")
    origin = model.backbone.origin
    if origin and (told := warning(origin["licence"])):
        print(f"warning: {told}")
    return 0


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"microtome {verb}", description=DESCRIPTION)
    add = parser.add_argument
    add("--ckpt_path", required=True, metavar="FILE", help="a checkpoint")
    add("--output", type=Path, required=True, metavar="DIR", help="a new folder")
    add("--weights", metavar="FILE|DIR", help="where the file of a frozen encoder is")
    return parser
