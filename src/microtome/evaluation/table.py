"""Metrics as plain text for a terminal or a log."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..structures import Classes

COLUMNS = {"iou": "IoU", "dice": "Dice", "precision": "precision", "recall": "recall"}
MEANS = {
    "iou": "miou",
    "dice": "mean_dice",
    "precision": "mean_precision",
    "recall": "mean_accuracy",
}


def format_table(metrics: Mapping[str, float], classes: Classes) -> str:
    """A row per class, their means, and the pixel accuracy; `-` where a number does not exist.

    Args:
        metrics: what `Evaluator.evaluate` returns; keys it lacks are shown as `-`.
        classes: the class table.
    """
    rows = [["class", *COLUMNS.values()]]
    for name in classes.names:
        rows.append([name, *(_number(metrics, f"{key}/{name}") for key in COLUMNS)])
    rows.append(["mean", *(_number(metrics, key) for key in MEANS.values())])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    rule = "-" * len(lines[0])
    body = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
    return "\n".join([*body, f"pixel accuracy {_number(metrics, 'pixel_accuracy')}"])


def _line(row: list[str], widths: list[int]) -> str:
    numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join([row[0].ljust(widths[0]), *numbers])


def _number(metrics: Mapping[str, float], key: str) -> str:
    value = metrics.get(key, math.nan)
    return "-" if math.isnan(value) else f"{value:.4f}"
