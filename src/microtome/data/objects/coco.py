"""COCO's annotations (Lin et al., "Microsoft COCO", ECCV 2014): one JSON file for many images.

`{"images": [{id, file_name, height, width}], "annotations": [{image_id, category_id, segmentation,
iscrowd}], "categories": [{id, name}]}`; ids may have gaps and begin anywhere. Detections also
have a `score`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...geometry import Shape
from ...structures.polygons import Polygon
from ...structures.rle import decode_rle
from ..label_maps import check_shape
from ..stores import ImageReadError
from .parts import Part, part_of, rasterised

_TOLD = 5
Annotation = Mapping[str, Any]


class Listed(NamedTuple):
    """An image as a file lists it."""

    id: int
    file_name: str
    shape: Shape  # height, width


class Coco(NamedTuple):
    """One file. Annotations stay text until they are asked for: a quarter of the memory.

    Attributes:
        file: where it lies.
        images: all of them.
        by_stem: their positions in `images`, by the stem of their file.
        categories: names by id.
        text: all annotations, those of one image together.
        spans: where those of an image stand in `text`, by its id.
    """

    file: Path
    images: tuple[Listed, ...]
    by_stem: dict[str, tuple[int, ...]]
    categories: dict[int, str]
    text: bytes
    spans: dict[int, tuple[int, int]]

    @classmethod
    def of(cls, file: Path, content: Mapping[str, Any]) -> Coco:
        """Check what a file holds.

        Raises ImageReadError with everything that is wrong with it.
        """
        problems: list[str] = []
        images = _images(content.get("images"), problems)
        categories = _categories(content.get("categories"), problems)
        known = {image.id for image in images}
        grouped = _grouped(content.get("annotations"), known, categories, problems)
        if problems:
            more = f" and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
            raise ImageReadError(file, "; ".join(problems[:_TOLD]) + more)
        by_stem: dict[str, list[int]] = defaultdict(list)
        for place, image in enumerate(images):
            by_stem[Path(image.file_name).stem].append(place)
        written = {key: json.dumps(found).encode() for key, found in grouped.items()}
        ends = np.cumsum([0, *map(len, written.values())]).tolist()
        spans = dict(zip(written, pairwise(ends), strict=True))
        found = {stem: tuple(places) for stem, places in by_stem.items()}
        return cls(file, images, found, categories, b"".join(written.values()), spans)

    @property
    def names(self) -> list[str]:
        """The categories in the order of their ids, each name once."""
        return list(dict.fromkeys(self.categories[key] for key in sorted(self.categories)))

    def parts(self, image: Path, shape: Shape) -> list[Part]:
        """The objects of an image [H, W], by their annotations' ids, else from 1 on.

        Raises ImageReadError for an image that is not listed, or listed with another size, and
        for outlines that are none.
        """
        listed = self._listed(image)
        check_shape(Path(f"{self.file}: {listed.file_name}"), listed.shape, shape)
        start, stop = self.spans.get(listed.id, (0, 0))
        annotations = json.loads(self.text[start:stop] or b"[]")
        ids = [annotation.get("id") for annotation in annotations]
        if not all(type(i) is int and i > 0 for i in ids) or len(set(ids)) < len(ids):
            ids = list(range(1, len(ids) + 1))
        return [self._part(listed, i, a) for i, a in zip(ids, annotations, strict=True)]

    def _listed(self, image: Path) -> Listed:
        """The image whose `file_name` agrees with a path furthest from its end."""
        same = [self.images[place] for place in self.by_stem.get(image.stem, ())]
        here = image.parts[::-1]
        agreeing = [_agreeing(Path(listed.file_name).parts[::-1], here) for listed in same]
        best = max(agreeing, default=0)
        if best == 0:
            raise ImageReadError(self.file, f"lists no image of the name {image.name}")
        if agreeing.count(best) > 1:
            raise ImageReadError(self.file, f"lists several images of the name {image.name}")
        return same[agreeing.index(best)]

    def _part(self, listed: Listed, number: int, annotation: Annotation) -> Part:
        word = self.categories[annotation["category_id"]]
        crowd = bool(annotation.get("iscrowd", 0))
        segmentation, score = annotation.get("segmentation"), annotation.get("score")
        try:
            score = None if score is None else float(score)
            if isinstance(segmentation, Mapping):
                check_shape(self.file, tuple(segmentation["size"]), listed.shape)
                part = part_of(number, decode_rle(segmentation), word)  # type: ignore[arg-type]
            elif segmentation:
                part = rasterised(number, _polygons(segmentation), listed.shape, word)
            else:
                raise ValueError("has no segmentation, and a box alone is no mask")
        except (ValueError, TypeError, LookupError) as error:
            reason = f"annotation {number} of {listed.file_name}: {error}"
            raise ImageReadError(self.file, reason) from None
        return part._replace(crowd=crowd, score=score)


def _polygons(segmentation: Sequence[Sequence[float]]) -> list[Polygon]:
    """`[[x, y, x, y, ...], ...]`, each from three corners on."""
    rings = [np.asarray(flat, np.float64) for flat in segmentation]
    if any(ring.ndim != 1 or ring.size % 2 for ring in rings):
        raise ValueError("expected polygons [x, y, x, y, ...]")
    return [Polygon(ring.reshape(-1, 2)[:, ::-1]) for ring in rings]


def _images(given: Any, problems: list[str]) -> tuple[Listed, ...]:
    found = []
    for image in given if isinstance(given, list) else ():
        try:
            shape = int(image["height"]), int(image["width"])
            found.append(Listed(int(image["id"]), str(image["file_name"]), shape))
        except (TypeError, LookupError, ValueError) as error:
            problems.append(f"images: expected id, file_name, height and width ({error!r})")
    if len({image.id for image in found}) < len(found):
        problems.append("images: an id stands twice")
    return tuple(found)


def _categories(given: Any, problems: list[str]) -> dict[int, str]:
    try:
        return {int(category["id"]): str(category["name"]) for category in given}
    except (TypeError, LookupError, ValueError):
        problems.append("categories: expected a list of id and name")
        return {}


def _grouped(
    given: Any, images: set[int], categories: Mapping[int, str], problems: list[str]
) -> dict[int, list[Annotation]]:
    """Annotations by image, without what is not needed."""
    grouped: dict[int, list[Annotation]] = defaultdict(list)
    kept = ("id", "category_id", "iscrowd", "segmentation", "score")
    for number, annotation in enumerate(given if isinstance(given, list) else (), 1):
        if not isinstance(annotation, Mapping):
            problems.append(f"annotations: expected objects, number {number} is none")
            continue
        name = annotation.get("id", number)
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if image not in images:
            problems.append(f"annotation {name}: there is no image {image!r}")
        elif category not in categories:
            problems.append(f"annotation {name}: there is no category {category!r}")
        else:
            grouped[image].append({k: annotation[k] for k in kept if k in annotation})
    return grouped


def _agreeing(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts of two paths agree, from the end; the names must."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
