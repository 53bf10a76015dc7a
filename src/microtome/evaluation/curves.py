"""The curves of a training run, as one picture."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..files import whole

Row = Mapping[str, float]


class Curve(NamedTuple):
    """What to draw of a history: a key, its name, its colour, and which of its values is best."""

    key: str
    name: str
    colour: str
    best: Any = None  # min or max


BLUE, ORANGE, GREEN = "#2a6fbb", "#d9622b", "#3c9d5d"
PANELS = {
    "Loss": (
        Curve("train/loss", "training", BLUE),
        Curve("val/loss", "validation", ORANGE, min),
    ),
    "Validation": (
        Curve("val/miou", "mIoU", BLUE, max),
        Curve("val/mean_dice", "Dice", ORANGE, max),
        Curve("val/pixel_accuracy", "pixel accuracy", GREEN, max),
        Curve("val/pq", "PQ of objects", BLUE, max),
        Curve("val/ap_dsb@0.5", "AP (DSB) of objects at 0.5", ORANGE, max),
    ),
    "Learning rate": (Curve("lr", "", BLUE),),
    "Seconds per epoch": (Curve("seconds", "", BLUE),),
}
INK, GRID, FRAME = "#333338", "#e4e4e8", "#b5b5bd"


def curves(history: Sequence[Row], path: str | os.PathLike[str]) -> None:
    """Draw loss, validation metrics, learning rate and time per epoch into a PNG file.

    Args:
        history: a row per epoch: `epoch` counted from 0 and any of `train/loss, val/loss,
            val/miou, val/mean_dice, val/pixel_accuracy, val/pq, val/ap_dsb@0.5, lr, seconds`. Rows
            may lack a key, as epochs without validation do.
        path: where to write.

    The best validation figures are ringed. It uses no global state of matplotlib, so that it can
    run in any thread.
    """
    figure = Figure(figsize=(11, 7), dpi=110, layout="constrained")
    for axes, (title, drawn) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        _style(axes, title)
        for curve in drawn:
            _draw(axes, curve, _points(history, curve.key))
        legend(axes, above=title == "Loss")
    with whole(path) as part:
        figure.savefig(part, format="png")


def _points(history: Sequence[Row], key: str) -> list[tuple[float, float]]:
    """(epoch counted from 1, value) where there is one."""
    found = [(row["epoch"] + 1, float(row[key])) for row in history if key in row]
    return [(epoch, value) for epoch, value in found if math.isfinite(value)]


def _style(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.set_xlabel("epoch", color=INK, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FRAME)
    axes.tick_params(colors=INK, labelsize=9)


def legend(axes: Any, *, above: bool) -> None:
    """Name the curves in room of their own, above or below all of them."""
    lines = len(axes.get_legend_handles_labels()[1])
    if not lines:
        return
    low, high = axes.get_ylim()
    share = 0.04 + 0.085 * lines  # of the height, at this size of the letters
    room = (high - low) * share / (1 - share)
    axes.set_ylim(low - room * (not above), high + room * above)
    axes.legend(
        loc="upper right" if above else "lower right", frameon=False, labelcolor=INK, fontsize=9
    )


def _draw(axes: Any, curve: Curve, points: list[tuple[float, float]]) -> None:
    if not points:
        return
    name, colour = curve.name, curve.colour
    if curve.best is not None:
        epoch, value = curve.best(points, key=lambda point: point[1])
        name += f", best {value:.3f} in epoch {epoch:.0f}"
        axes.plot([epoch], [value], "o", color=colour, markersize=9, markerfacecolor="none")
    x, y = zip(*points, strict=True)
    style = "o-" if len(points) < 40 else "-"
    axes.plot(x, y, style, color=colour, label=name or None, markersize=3.5)
