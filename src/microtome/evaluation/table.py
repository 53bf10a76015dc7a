"""Metrics as plain text for a terminal or a log."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..structures import Classes

COLUMNS = {
    "iou": "IoU",
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
}
MEANS = {
    "iou": "miou",
    "dice": "mean_dice",
    "precision": "mean_precision",
    "recall": "mean_accuracy",
    "specificity": "mean_specificity",
}
SURFACES = {"hd95": "HD95 µm", "surface_dice": "surface Dice"}  # where they were asked for
OVERALL = {
    "pixel_accuracy": "pixel accuracy",
    "fwiou": "IoU by true pixels",
    "kappa": "kappa",
    "mcc": "Matthews",
}
OBJECT_COLUMNS = {
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
    "f1@0.5": "F1@0.5",
    "ap_dsb@0.5": "AP_dsb@0.5",
    "ap_dsb@0.75": "AP_dsb@0.75",
    "ap_dsb@0.9": "AP_dsb@0.9",
    "coco_ap": "AP_coco",
    "aji": "AJI",
}


def format_table(metrics: Mapping[str, float], classes: Classes) -> str:
    """A row per class, their means, and numbers without classes; `-` where a number does not exist.

    Args:
        metrics: what `SemanticEvaluator.evaluate` or `SurfaceEvaluator.evaluate` returns; keys it
            lacks are shown as `-`.
        classes: the class table.
    """
    surfaces = SURFACES if "mean_hd95" in metrics else {}
    columns = COLUMNS | surfaces
    means = [*MEANS.values(), *(f"mean_{key}" for key in surfaces)]
    rows = [["class", *columns.values()]]
    for name in classes.members:
        rows.append([name, *(_number(metrics, f"{key}/{name}") for key in columns)])
    rows.append(["mean", *(_number(metrics, key) for key in means)])
    overall = ", ".join(f"{name} {_number(metrics, key)}" for key, name in OVERALL.items())
    return f"{_ruled(rows)}\n{overall}"


def format_object_table(metrics: Mapping[str, float], classes: Classes) -> str:
    """A row per class with objects, their means, and one for objects whatever their class.

    Args:
        metrics: what `InstanceEvaluator.evaluate` returns.
        classes: the class table.
    """
    rows = [["class", *OBJECT_COLUMNS.values()]]
    for name in classes.names:
        if not math.isnan(metrics.get(f"pq/{name}", math.nan)):
            rows.append([name, *(_number(metrics, f"{key}/{name}") for key in OBJECT_COLUMNS)])
    rows.append(["mean", *(_number(metrics, f"mean_{key}") for key in OBJECT_COLUMNS)])
    rows.append(["any class", *(_number(metrics, key) for key in OBJECT_COLUMNS)])
    return _ruled(rows, above=2)


def _ruled(rows: list[list[str]], above: int = 1) -> str:
    """Columns of equal width, a rule below the names and one above the last rows."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-above], rule, *lines[-above:]])


def _line(row: list[str], widths: list[int]) -> str:
    numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join([row[0].ljust(widths[0]), *numbers])


def _number(metrics: Mapping[str, float], key: str) -> str:
    value = metrics.get(key, math.nan)
    return "-" if math.isnan(value) else f"{value:.4f}"
