"""The page of an evaluation: tables and pictures as one HTML file beside its images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from .findings import ALL, Findings, Numbers, by_class

STYLE = """body{font:15px/1.45 system-ui,sans-serif;color:#19191e;max-width:1200px;margin:2em auto;
padding:0 1em}table{border-collapse:collapse;margin:.6em 0 1.6em;font-variant-numeric:tabular-nums}
th,td{padding:.2em .9em;border-bottom:1px solid #e4e4e8;text-align:right}th{color:#696973;
font-weight:500}th:first-child,td:first-child{text-align:left}img{max-width:100%;margin:.4em 0}
h2{margin-top:1.6em;font-size:1.15em}.wide{overflow-x:auto}p{color:#696973}"""

COUNTS = ("count_error", "count_bias", "there")
HEADS = {"there": "true objects"}


def report_page(findings: Findings, pictures: Mapping[str, Sequence[str]], main: str) -> str:
    """HTML of all numbers, and of pictures by `worst` and `best`: paths beside the page."""
    about = ", ".join(f"{key.replace('_', ' ')} {v}" for key, v in findings.about.items())
    classes = by_class(findings.pooled)
    every: Numbers = classes.pop(ALL)
    sizes = findings.sizes
    if len(classes) == 1:  # the mean over one class says nothing new
        every = _without_means(every)
        sizes = {size: _without_means(numbers) for size, numbers in sizes.items()}
    ordered = sorted(findings.images.items(), key=lambda one: _last(one[1].get(main, math.nan)))
    parts = [
        f"<p>{escape(about)}</p>",
        "<h2>All images</h2><p>In brackets the middle 95 % when images are drawn anew "
        "(bootstrap). A dash: there is no such number, such as COCO's AP of results without scores."
        "</p>",
        _table(["", "pooled", "", "mean of images"], _pooled(findings, every)),
        *_section("By class", classes),
        *_section("By size", sizes),
    ]
    for kind in ("worst", "best"):
        shown = "".join(f'<img src="{escape(file)}" alt="">' for file in pictures.get(kind, ()))
        parts.append(f"<h2>The {kind}, by {escape(main)}</h2>{shown or '<p>none</p>'}")
    parts += _section("Images, the worst first", dict(ordered))
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Evaluation</title>'
        f"<style>{STYLE}</style><h1>Evaluation</h1>\n" + "\n".join(parts) + "\n</html>\n"
    )


def _without_means(numbers: Numbers) -> Numbers:
    return {key: value for key, value in numbers.items() if not key.startswith("mean_")}


def _pooled(findings: Findings, every: Mapping[str, float]) -> Iterable[Sequence[str]]:
    for key, value in every.items():
        mean = findings.means.get(key, math.nan)
        yield key, _number(key, value), _between(findings, key), _number(key, mean)


def _section(title: str, rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    if not rows:
        return []
    keys = list(dict.fromkeys(key for numbers in rows.values() for key in numbers))
    lines = ([name, *(_number(k, n.get(k, math.nan)) for k in keys)] for name, n in rows.items())
    heads = [HEADS.get(key, key) for key in keys]
    return [f"<h2>{escape(title)}</h2>", _table(["", *heads], lines)]


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    first = "".join(f"<th>{escape(cell)}</th>" for cell in head) if any(head) else ""
    body = (f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
    return f'<div class="wide"><table><tr>{first}</tr>{"".join(body)}</table></div>'


def _number(key: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.6g}" if key.removeprefix("mean_") in COUNTS else f"{value:.4f}"


def _between(findings: Findings, key: str) -> str:
    low, high = findings.intervals.get(key, (math.nan, math.nan))
    return "" if math.isnan(low) else f"({low:.4f} to {high:.4f})"


def _last(value: float) -> float:
    return math.inf if math.isnan(value) else value
