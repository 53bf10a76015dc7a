"""Images that are known from another split although neither their group nor their file says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from .examination import Findings
from .records import Record

Records = Mapping[str, Sequence[Record]]


def copies(records: Records, found: Findings) -> Iterator[str]:
    """Files of equal bytes in two splits."""
    first: dict[str, tuple[str, Path]] = {}
    for split, rows in records.items():
        for record, finding in zip(rows, found[split], strict=True):
            if finding.digest is None:
                continue
            other, image = first.setdefault(finding.digest, (split, record.image))
            if other != split and image.resolve() != record.image.resolve():
                yield (
                    f"image {record.image} of {split} is a copy of {image} of {other}: the score "
                    "would be of known images"
                )


def ungrouped(records: Records) -> Iterator[str]:
    """Some images say their patient, and the others may be of the same one."""
    every = list(chain(*records.values()))
    bare = [record.name for record in every if record.group is None]
    if 0 < len(bare) < len(every):
        yield (
            f"{len(bare)} of {len(every)} images have no group, as {bare[0]}: whether they share "
            "a patient or slide with images of another split cannot be checked"
        )
