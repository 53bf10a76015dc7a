"""Filling a head from published weights, strictly: what does not fit is named and refused."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from torch import nn

from ..weights import KeyMap, LoadReport, State, load_weights

log = logging.getLogger("microtome")


def fill(
    head: nn.Module, state: State, key_map: KeyMap, own: Sequence[str], path: str
) -> LoadReport:
    """Fill a head from the tensors of a published one.

    Args:
        head: to fill.
        state: tensors by their foreign names, those of the head only.
        key_map: how foreign names become ours.
        own: patterns of the names that depend on the classes or on the backbone's channels; they
            stay as they are where their shapes differ, and a warning names them.
        path: where the tensors were found, for messages.

    Raises ValueError when anything else is missing, is left over or has another shape.
    """
    report = load_weights(head, state, key_map, at_least=0.5)
    allowed = [k for k in report.mismatched if any(re.match(p, k) for p in own)]
    wrong = [
        *(k for k in report.mismatched if k not in allowed),
        *(f"{k} is not in the file" for k in report.missing),
        *(f"{k} is only in the file" for k in report.unused),
    ]
    if wrong:
        more = ", ..." if len(wrong) > 5 else ""
        raise ValueError(
            f"{path}: weights of a {type(head).__name__} of other sizes ({', '.join(wrong[:5])}"
            f"{more}); give the num_queries, hidden, encoder_layers, decoder_layers and num_heads "
            "it has, with a backbone of four levels in two dimensions"
        )
    if allowed:
        shown = ", ".join(allowed)
        log.warning(f"{path}: left at random, the shape there for the shape here: {shown}")
    return report
