"""How a model is asked: `--tta` and `--tta_scales`, `--min_score`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..inference import Predicts
    from ..models import Segmenter

WAYS = "also predict each tile mirrored, turned by right angles, or both; average scores of classes"
SCALES = "average over each tile resized by these, too, such as 0.75 1 1.25"
SCORE = "of objects: those that score less are left out (default: as the model was made)"


def add_asked(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--tta", choices=("mirror", "turn", "both"), help=WAYS)
    parser.add_argument("--tta_scales", type=float, nargs="+", metavar="SCALE", help=SCALES)
    parser.add_argument("--min_score", type=float, metavar="SCORE", help=SCORE)


def is_asked(given: argparse.Namespace) -> bool:
    """Whether any of them is given."""
    return any(x is not None for x in (given.tta, given.tta_scales, given.min_score))


def asked(model: Segmenter, given: argparse.Namespace) -> tuple[Predicts, dict[str, str]]:
    """The model as it is to be asked, and what that changes, to be written down.

    Raises ValueError for what the model cannot be asked.
    """
    from ..inference import Views

    told: dict[str, str] = {}
    if given.min_score is not None:
        model.head.sift(given.min_score)
        told["min_score"] = f"{given.min_score:g}"
    if given.tta is None and given.tta_scales is None:
        return model.eval(), told
    views = Views(given.tta, tuple(given.tta_scales or (1.0,)))
    return model.eval().averaging(views), {**told, "tta": str(views)}
