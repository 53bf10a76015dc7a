"""A page of pictures: a title, columns of panels, a legend that wraps, or a colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .planes import Pixels, striped

MARGIN, GAP, SWATCH = 16, 10, 16  # pixels
NARROWEST = 84  # pixels, of a column
LINE, TITLE = 26, 34  # pixels, the height of a line of text
BAR = 320  # pixels, of a colour bar
PAPER, TEXT, FAINT = (255, 255, 255), (25, 25, 30), (105, 105, 115)


class Entry(NamedTuple):
    """One class in the legend; `colour` None means stripes."""

    name: str
    colour: tuple[int, int, int] | None


class Scale(NamedTuple):
    """A colour bar: what its colours [n, 3] mean, from `low` to `high`."""

    name: str
    colours: Pixels
    low: float
    high: float


class Page(NamedTuple):
    """What stands on a page.

    Attributes:
        rows: panels [h, w, 3], equally many in each row.
        headings: one per column.
        names: one per row; empty ones take no room.
        legend: the classes.
        title: above everything.
        scale: below everything, for panels that show numbers.
    """

    rows: Sequence[Sequence[Pixels]]
    headings: Sequence[str]
    names: Sequence[str]
    legend: Sequence[Entry]
    title: str = ""
    scale: Scale | None = None

    @property
    def column(self) -> int:
        """The width of a column: that of its panels, and room for its heading."""
        return max(NARROWEST, *(int(panel.shape[1]) for row in self.rows for panel in row))

    def draw(self) -> Image.Image:
        """Set the page: as wide as its columns or its title, as high as it comes."""
        columns = len(self.headings)
        inner = columns * self.column + (columns - 1) * GAP
        widest = max((_width(entry) for entry in self.legend), default=0)
        inner = max(inner, widest, round(_font(17, True).getlength(self.title)))
        lines = _wrapped(self.legend, inner)
        height = sum(row[0].shape[0] + GAP + LINE * bool(n) for row, n in self._named())
        if self.scale is not None:
            inner = max(inner, BAR, round(_font(14).getlength(self.scale.name)))
            height += 2 * LINE + SWATCH
        height += LINE + TITLE * bool(self.title) + LINE * len(lines) + 2 * MARGIN
        page = Image.new("RGB", (inner + 2 * MARGIN, height), PAPER)
        self._write(page, lines)
        return page

    def _named(self) -> list[tuple[Sequence[Pixels], str]]:
        return list(zip(self.rows, self.names, strict=True))

    def _write(self, page: Image.Image, lines: list[list[Entry]]) -> None:
        pen, y = ImageDraw.Draw(page), MARGIN
        if self.title:
            pen.text((MARGIN, y + 10), self.title, TEXT, _font(17, True), anchor="lm")
            y += TITLE
        lefts = [MARGIN + i * (self.column + GAP) for i in range(len(self.headings))]
        for left, heading in zip(lefts, self.headings, strict=True):
            pen.text((left, y + 10), heading, FAINT, _font(14), anchor="lm")
        y += LINE
        for row, name in self._named():
            if name:
                pen.text((MARGIN, y + 10), name, FAINT, _font(14), anchor="lm")
                y += LINE
            for left, panel in zip(lefts, row, strict=True):
                page.paste(Image.fromarray(panel), (left, y))
            y += row[0].shape[0] + GAP
        for line in lines:
            _write_entries(page, pen, line, y)
            y += LINE
        if self.scale is not None:
            _write_scale(page, pen, self.scale, y)


def _wrapped(entries: Sequence[Entry], width: int) -> list[list[Entry]]:
    lines: list[list[Entry]] = [[]]
    used = 0
    for entry in entries:
        need = _width(entry)
        if lines[-1] and used + need > width:
            lines.append([])
            used = 0
        lines[-1].append(entry)
        used += need
    return lines if lines[0] else []


def _width(entry: Entry) -> int:
    return SWATCH + 6 + round(_font(14).getlength(entry.name)) + 20


def _write_entries(
    page: Image.Image, pen: ImageDraw.ImageDraw, line: Sequence[Entry], y: int
) -> None:
    x, top = MARGIN, y + (LINE - SWATCH) // 2 + 1
    for entry in line:
        box = (x, top, x + SWATCH - 1, top + SWATCH - 1)
        if entry.colour is None:
            stripes = np.broadcast_to(striped((SWATCH, SWATCH)), (SWATCH, SWATCH, 3))
            page.paste(Image.fromarray(stripes.astype(np.uint8)), (x, top))
            pen.rectangle(box, outline=FAINT)
        else:
            pen.rectangle(box, fill=entry.colour, outline=FAINT)
        middle = top + SWATCH // 2
        pen.text((x + SWATCH + 6, middle), entry.name, TEXT, _font(14), anchor="lm")
        x += _width(entry)


def _write_scale(page: Image.Image, pen: ImageDraw.ImageDraw, scale: Scale, y: int) -> None:
    pen.text((MARGIN, y + 10), scale.name, FAINT, _font(14), anchor="lm")
    y += LINE
    steps = np.arange(BAR) * len(scale.colours) // BAR
    strip = np.repeat(scale.colours[None, steps], SWATCH, 0)
    page.paste(Image.fromarray(np.ascontiguousarray(strip)), (MARGIN, y))
    pen.rectangle((MARGIN, y, MARGIN + BAR - 1, y + SWATCH - 1), outline=FAINT)
    middle = (scale.low + scale.high) / 2
    for part, value, side in ((0, scale.low, "l"), (0.5, middle, "m"), (1, scale.high, "r")):
        place = (MARGIN + round(part * (BAR - 1)), y + SWATCH + 12)
        pen.text(place, f"{value:g}", TEXT, _font(14), anchor=f"{side}m")


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has Greek letters and µ."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
