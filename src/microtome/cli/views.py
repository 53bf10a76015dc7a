"""`--tta` and `--tta_scales`: the views that tiles are predicted in."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..inference import Views

WAYS = "also predict each tile mirrored, turned by right angles, or both; average scores of classes"
SCALES = "average over each tile resized by these, too, such as 0.75 1 1.25"


def add_views(parser: argparse.ArgumentParser) -> None:
    """Add both options."""
    parser.add_argument("--tta", choices=("mirror", "turn", "both"), help=WAYS)
    parser.add_argument("--tta_scales", type=float, nargs="+", metavar="SCALE", help=SCALES)


def views(given: argparse.Namespace) -> Views | None:
    """What they say; None when neither is given. Raises ValueError for scales that cannot be."""
    from ..inference import Views

    if not (given.tta or given.tta_scales):
        return None
    return Views(given.tta, tuple(given.tta_scales or (1.0,))).checked()
