"""The facts of one split, from what was found in each of its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..geometry import Shape, Spacing
from ..structures import Classes
from .examination import Finding
from .object_facts import ObjectSummary, summary


@dataclass(frozen=True)
class SplitReport:
    """The facts of one split.

    Attributes:
        images: how many there are.
        with_truth: how many have a mask or label map.
        smallest, largest: shapes, by number of pixels; None when nothing could be read.
        spacings: the distinct spacings, None among them when some are unknown.
        pixels: how many pixels each class has, the ignored ones last.
        occurs: how many images each class occurs in, in the same order.
        among: how many judged pixels those images have.
        objects: how many objects each image with a label map has.
        crowd: the most objects that one training crop can meet; None where that was not counted.
        summary: of all objects; None where nothing says them.
    """

    images: int
    with_truth: int
    smallest: Shape | None
    largest: Shape | None
    spacings: tuple[Spacing | None, ...]
    pixels: tuple[int, ...]
    occurs: tuple[int, ...]
    among: tuple[int, ...]
    objects: tuple[int, ...]
    crowd: int | None = None
    summary: ObjectSummary | None = None


def split_report(findings: Sequence[Finding], classes: Classes) -> SplitReport:
    """What the findings of a split say together."""
    infos = [f.info for f in findings if f.info is not None]
    shapes = sorted((i.shape for i in infos), key=prod)
    judged = (*range(classes.num_classes), classes.ignore_index)
    objects = [f.objects for f in findings if f.objects is not None]
    return SplitReport(
        images=len(findings),
        with_truth=sum(f.has_truth for f in findings),
        smallest=shapes[0] if shapes else None,
        largest=shapes[-1] if shapes else None,
        spacings=tuple(dict.fromkeys(i.spacing for i in infos)),
        pixels=tuple(sum(f.pixels.get(v, 0) for f in findings) for v in judged),
        occurs=tuple(sum(f.pixels.get(v, 0) > 0 for f in findings) for v in judged),
        among=_among(findings, judged),
        objects=tuple(len(o.sizes) for o in objects),
        crowd=max((o.crop.most for o in objects if o.crop is not None), default=None),
        summary=summary(objects),
    )


def _among(findings: Sequence[Finding], values: Sequence[int]) -> tuple[int, ...]:
    """For each class the judged pixels of the images that show it; the last of `values` is none."""
    totals = [sum(f.pixels.get(v, 0) for v in values[:-1]) for f in findings]
    shown = [[f.pixels.get(v, 0) > 0 for f in findings] for v in values]
    return tuple(sum(t for t, s in zip(totals, row, strict=True) if s) for row in shown)
