"""What an inspection of a data set found, for people and for files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from ..geometry import Shape, Spacing

SHOWN = 50  # problems in `text`; `as_dict` has them all


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


@dataclass(frozen=True)
class Report:
    """All that an inspection found.

    Attributes:
        problems: what training must not start with.
        warnings: what somebody should look at.
        splits: facts by split.
        names: of the classes.
        mean, std: of the training images (of all, without training images), per channel in unit
            range, every image counting the same; empty when nothing could be read.
        fingerprint: sha256 over splits, names and file sizes.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    splits: dict[str, SplitReport]
    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str

    @property
    def most_objects(self) -> int:
        """The most that are seen at once: in a training crop where there are crops, else an image.

        0 without label maps.
        """
        seen = [
            max(s.objects) if s.crowd is None else s.crowd
            for s in self.splits.values()
            if s.objects
        ]
        return max(seen, default=0)

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps: which data it was, without the problems."""
        return {
            "fingerprint": self.fingerprint,
            "images": {name: split.images for name, split in self.splits.items()},
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return asdict(self)

    def text(self) -> str:
        """Tables of splits and classes, then problems and warnings."""
        parts = [_table(_split_rows(self.splits)), _table(self._class_rows())]
        if self.mean:
            pairs = zip(self.mean, self.std, strict=True)
            parts.append("mean ± std: " + ", ".join(f"{m:.3f} ± {s:.3f}" for m, s in pairs))
        if self.most_objects:
            parts.append(self._objects_in_words())
        parts += [_listed("warning", self.warnings), _listed("problem", self.problems)]
        return "\n\n".join(p for p in parts if p)

    def _objects_in_words(self) -> str:
        cropped = any(s.crowd is not None for s in self.splits.values())
        where = "training crop" if cropped else "image"
        return (
            f"at most {self.most_objects} objects in one {where}: heads of queries want "
            f"`num_queries: {enough_queries(self.most_objects)}` or more"
        )

    def _class_rows(self) -> list[Sequence[str]]:
        rows: list[Sequence[str]] = [
            ("class", *(f"{name}: pixels (images)" for name in self.splits))
        ]
        totals = {name: sum(split.pixels) or 1 for name, split in self.splits.items()}
        for i, name in enumerate((*self.names, "(ignored)")):
            cells = (
                f"{split.pixels[i] / totals[key]:.2%} ({split.occurs[i]})"
                for key, split in self.splits.items()
            )
            rows.append((name, *cells))
        return rows


def enough_queries(objects: int) -> int:
    """A quarter more than there are objects, in fifties; not less than the 100 that are usual."""
    return max(100, 50 * ceil(1.25 * objects / 50))


def _split_rows(splits: dict[str, SplitReport]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("split", "images", "with truth", "size", "spacing µm", "objects")]
    for name, split in splits.items():
        sizes = dict.fromkeys(_times(s) for s in (split.smallest, split.largest) if s)
        spacings = " or ".join(_times(s) if s else "unknown" for s in split.spacings)
        objects = f"{min(split.objects)} to {max(split.objects)}" if split.objects else "-"
        rows.append(
            (name, str(split.images), str(split.with_truth), " to ".join(sizes), spacings, objects)
        )
    return rows


def _times(numbers: Sequence[float]) -> str:
    return " x ".join(f"{n:g}" for n in numbers)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _listed(kind: str, items: Sequence[str]) -> str:
    if not items:
        return "" if kind == "warning" else f"no {kind}s"
    head = f"{len(items)} {kind}{'s' if len(items) > 1 else ''}:"
    more = [f"... and {len(items) - SHOWN} more"] if len(items) > SHOWN else []
    return "\n  - ".join((head, *items[:SHOWN], *more))
