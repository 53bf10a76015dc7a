"""What is written of an evaluation.

OUTPUT/metrics.json   pooled numbers, intervals, sizes, images, their means, and what was evaluated
       metrics.csv    a row for all images, for each class, their mean, each size and each image
       index.html     the same to be read, with pictures of the best and the worst images
       pictures/      these
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import whole
from .findings import ALL, EVERYTHING, Findings, by_class
from .judging import Album
from .report_page import report_page


def write_report(folder: Path, findings: Findings, album: Album) -> None:
    """Write all files; those of an earlier evaluation are replaced."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for earlier in pictures.glob("*.png"):
        earlier.unlink()
    files: dict[str, list[str]] = {}
    for kind, kept in (("worst", album.worst), ("best", album.best)):
        for number, shown in enumerate(kept):
            file = pictures / f"{kind}_{number}.png"
            with whole(file) as part:
                shown.picture.save(part, format="png")
            files.setdefault(kind, []).append(f"{pictures.name}/{file.name}")
    with whole(folder / "metrics.json") as part:
        part.write_text(json.dumps(_plain(findings._asdict()), indent=1, allow_nan=False) + "\n")
    _write_csv(folder / "metrics.csv", findings)
    with whole(folder / "index.html") as part:
        part.write_text(report_page(findings, files, album.evaluator.main), encoding="utf-8")


def _write_csv(file: Path, findings: Findings) -> None:
    rows: list[dict[str, Any]] = []
    for of, of_class in by_class(findings.pooled).items():
        rows.append({"image": EVERYTHING, "of": of, **of_class})
    rows.append({"image": "mean of images", "of": ALL, **findings.means})
    for size, of_size in findings.sizes.items():
        rows.append({"image": EVERYTHING, "of": f"size {size}", **of_size})
    for name, of_image in findings.images.items():
        rows.append({"image": name, "of": ALL, **of_image})
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with whole(file) as part, part.open("w", newline="", encoding="utf-8") as f:
        table = csv.DictWriter(f, columns)
        table.writeheader()
        table.writerows({k: _empty(v) for k, v in row.items()} for row in rows)


def _empty(value: Any) -> Any:
    return "" if isinstance(value, float) and math.isnan(value) else value


def _plain(value: Any) -> Any:
    """JSON knows no nan."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
