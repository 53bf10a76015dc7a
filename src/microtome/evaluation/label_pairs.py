"""Two folders of label maps, paired by name: predictions of any program, and the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..data.stores import ImageReadError, LabelSource, open_labels
from ..data.stores.formats import is_volume
from ..data.stores.image_files import SUFFIXES
from ..data.stores.places import name_of
from ..geometry import Spacing, window
from ..structures import Instances, LabelLayers, Segmentation
from .judging import Judged

LISTED = 10  # of each kind of mistake; of the others the number


class LabelPair(NamedTuple):
    """A name, and the maps of it."""

    name: str
    found: LabelSource
    true: LabelSource

    @property
    def spacing(self) -> Spacing | None:
        """As either file says it."""
        return self.found.spacing or self.true.spacing

    def judged(self, *, objects: bool) -> Judged:
        """Read both, as maps of object numbers or of classes."""
        result, truth = (_segmentation(s, objects) for s in (self.found, self.true))
        return Judged(self.name, result, truth, spacing=self.spacing)


def label_pairs(predictions: Path, truth: Path) -> list[LabelPair]:
    """Find label maps of equal names in two folders, in all depths, and open them.

    A map may be an image file, TIFF, NIfTI, zarr or OME-Zarr; `a/x.tif` goes with `a/x.zarr`.

    Raises ValueError that lists everything that is wrong: no such folder, names that only one of
    them has, names that occur twice, files that cannot be read, shapes that differ.
    """
    wrong: list[str] = []
    found, true = (_by_name(folder, wrong) for folder in (predictions, truth))
    if not wrong:
        for own, other, what in ((found, true, "truth"), (true, found, "prediction")):
            wrong += _listed(f"no {what} for", sorted(own.keys() - other.keys()))
    pairs: list[LabelPair] = []
    unread: list[str] = []
    shapes: list[str] = []
    for name in sorted(found.keys() & true.keys()):
        try:
            pair = LabelPair(name, open_labels(found[name]), open_labels(true[name]))
        except ImageReadError as error:
            unread.append(str(error))
            continue
        pairs.append(pair)
        if pair.found.shape != pair.true.shape:
            shapes.append(f"{name} (prediction {pair.found.shape}, truth {pair.true.shape})")
    wrong += _listed("not readable:", unread) + _listed("shapes differ:", shapes)
    if wrong:
        raise ValueError("\n  ".join([f"{predictions} and {truth} do not go together:", *wrong]))
    return pairs


def _by_name(folder: Path, wrong: list[str]) -> dict[str, Path]:
    if not folder.is_dir():
        wrong.append(f"no such folder: {folder}")
        return {}
    named: dict[str, Path] = {}
    twice = []
    for file in _maps_below(folder):
        name = (file.parent / name_of(file)).relative_to(folder).as_posix()
        if name in named:
            twice.append(f"{named[name].name} and {file.name}")
        named[name] = file
    if not named:
        wrong.append(f"no label map in {folder}: {', '.join(SUFFIXES)}, .nii, .nii.gz or zarr")
    wrong += _listed(f"the same name twice in {folder}:", twice)
    return named


def _maps_below(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.iterdir()):
        if file.name.startswith("."):
            continue
        if is_volume(file) or file.name.lower().endswith(SUFFIXES):
            yield file
        elif file.is_dir():
            yield from _maps_below(file)


def _listed(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return [f"{what} {', '.join(names[:LISTED])}{more}"]


def _segmentation(source: LabelSource, objects: bool) -> Segmentation:
    values = torch.from_numpy(source.read(window(source.shape)).astype(np.int64))
    if not objects:
        return Segmentation(values)
    masks = LabelLayers.from_ids(values)
    return Segmentation(instances=Instances(torch.ones(len(masks), dtype=torch.int64), masks=masks))
