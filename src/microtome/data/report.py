"""What an inspection of a data set found, for people and for files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .proposals import enough_detections, enough_queries, fitting_tile
from .split_report import SplitReport

SHOWN = 50  # problems in `text`; `as_dict` has them all
LISTED = 30  # of more classes, `text` tells those that occur


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
            parts += [_table(_object_rows(self.splits, self.names)), self._proposed()]
        parts += [_listed("warning", self.warnings), _listed("problem", self.problems)]
        return "\n\n".join(p for p in parts if p)

    def _proposed(self) -> str:
        """What heads of objects, and prediction in tiles, want for these objects."""
        cropped = any(s.crowd is not None for s in self.splits.values())
        where = "training crop" if cropped else "image"
        lines = [
            f"at most {self.most_objects} objects in one {where}: heads of queries want "
            f"`num_queries: {enough_queries(self.most_objects)}` or more"
        ]
        most = max(max(s.objects) for s in self.splits.values() if s.objects)
        lines.append(
            f"at most {most} objects in one image: let metrics count {enough_detections(most)} "
            "detections an image"
        )
        return "\n".join([*lines, *_tile_in_words(self.splits)])

    def _class_rows(self) -> list[Sequence[str]]:
        rows: list[Sequence[str]] = [
            ("class", *(f"{name}: pixels (images)" for name in self.splits))
        ]
        totals = {name: sum(split.pixels) or 1 for name, split in self.splits.items()}
        for i, name in enumerate((*self.names, "(ignored)")):
            if len(self.names) > LISTED and not any(s.occurs[i] for s in self.splits.values()):
                continue
            cells = (
                f"{split.pixels[i] / totals[key]:.2%} ({split.occurs[i]})"
                for key, split in self.splits.items()
            )
            rows.append((name, *cells))
        return rows


def _tile_in_words(splits: dict[str, SplitReport]) -> list[str]:
    facts = [(s.summary.largest, s.largest) for s in splits.values() if s.summary and s.largest]
    if len({len(part) for pair in facts for part in pair}) != 1:
        return []
    largest, image = (tuple(map(max, *p, p[0])) for p in zip(*facts, strict=True))
    tile = fitting_tile(largest, image)
    size = tile.size[0] if len(set(tile.size)) == 1 else list(tile.size)
    fits = "each lies whole in a tile of" if tile.whole else "larger than half a tile of"
    return [
        f"the largest object is {_times(largest)} pixels: {fits} "
        f"`tile: {size}` with `overlap: {tile.overlap:g}`"
    ]


def _object_rows(splits: dict[str, SplitReport], names: Sequence[str]) -> list[Sequence[str]]:
    """A column for each split with objects: how many, how large, how close to each other."""
    told = {name: s.summary for name, s in splits.items() if s.summary and sum(s.objects)}
    rows: list[Sequence[str]] = [("objects", *told)]
    for index, name in enumerate(names):
        counts = [s.by_class[index] for s in told.values()]
        rows += [(name, *(f"{count:,}" for count in counts))] if any(counts) else []
    for unit, field in (("pixels", "diameters"), ("µm", "diameters_um")):
        cells = [_middle(getattr(s, field)) for s in told.values()]
        rows += [(f"diameter, {unit}", *cells)] if any(c != "-" for c in cells) else []
    for tile in sorted({tile for s in told.values() for tile in s.tiles}):
        cells = [f"{s.tiles.get(tile, 0):,}" for s in told.values()]
        rows.append((f"most in a tile of {tile}", *cells))
    shares = [s.empty_crops for s in told.values()]
    if any(share is not None for share in shares):
        cells = ["-" if share is None else f"{share:.0%}" for share in shares]
        rows.append(("crops without any", *cells))
    return rows


def _middle(quantiles: Sequence[float]) -> str:
    """The median, and between which 90 % lie."""
    if not quantiles:
        return "-"
    low, middle, high = quantiles
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


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
