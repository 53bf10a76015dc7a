"""Objects in COCO's JSON: boxes `x, y, w, h`, masks as run lengths, categories by name.

A file holds one image. Volumes have boxes `x, y, z, w, h, d` and run lengths along z first, then
y, then x, as numbers: there is no agreed form, and this one is COCO's with an axis more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...files import whole
from ...geometry import boxes_to_xywh
from ...structures import Classes
from ...structures.rle import encode_rle
from .found import FoundObjects
from .masks import masks
from .measuring import Measured


def write_coco(
    path: Path, image: str, found: FoundObjects, measured: Measured, classes: Classes
) -> None:
    """Write `images`, `categories` (the class indices) and one annotation for each object."""
    size = dict(zip(("width", "height", "depth"), found.shape[::-1], strict=False))
    head = {
        "images": [{"id": 1, "file_name": image, **size}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes.names)],
    }
    with whole(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        for number, one in enumerate(_annotations(found, measured)):
            file.write((",\n" if number else "\n") + json.dumps(one))
        file.write("\n]}\n")


def _annotations(found: FoundObjects, measured: Measured) -> Iterator[dict[str, Any]]:
    for one in masks(found, measured):
        corner = [part.start for part in one.region]
        box = boxes_to_xywh([measured.boxes[one.item].tolist()])[0]
        score = {} if found.scores is None else {"score": round(float(found.scores[one.item]), 4)}
        yield {
            "id": int(found.ids[one.item]),
            "image_id": 1,
            "category_id": int(found.labels[one.item]),
            **score,
            "area": int(measured.pixels[one.item]),
            "bbox": box,
            "iscrowd": 0,
            "segmentation": encode_rle(one.inside, corner, found.shape),
        }
