"""What to predict: an image file, a folder of them, or a split of a manifest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..data.image_dataset import ImageDataset, ManifestDataset
from ..data.records import Reading, Record
from ..data.stores.formats import is_volume
from ..data.stores.image_files import SUFFIXES
from ..data.stores.places import file_of, name_of
from ..structures import Classes
from .outputs import CONFIDENCE, INSTANCES, MASKS, OVERLAYS

RESULTS = (MASKS, OVERLAYS, INSTANCES, CONFIDENCE)  # folders of earlier predictions


class Inputs(NamedTuple):
    """Images to predict.

    Attributes:
        images: opens them, and reads their truth where there is one.
        names: what their outputs are called: a path below the output folders, without a suffix.
    """

    images: ImageDataset
    names: tuple[str, ...]


def find_inputs(
    path: str | os.PathLike[str],
    classes: Classes,
    reading: Reading | None = None,
    split: str = "test",
) -> Inputs:
    """Find what a path stands for.

    Args:
        path: an image; a volume (a zarr or DICOM folder, `file.h5:/dataset`, NIfTI, an fsspec URL
            of zarr or HDF5); a folder of images and volumes, searched in all depths without
            hidden files and earlier predictions; or a JSON manifest.
        classes: the model's class table.
        reading: how images are read; a manifest has its own.
        split: of a manifest.

    Raises FileNotFoundError when there is nothing or no image, ManifestError for a wrong manifest,
    and ValueError when its number of classes is not the model's.
    """
    given = Path(path)
    if is_volume(given):
        return _inputs([given], file_of(given).parent, classes, reading)
    if given.is_dir():
        return _inputs(_images_below(given), given, classes, reading)
    if not given.is_file():
        raise FileNotFoundError(f"{given}: no such file or folder")
    if given.suffix.lower() != ".json":
        return _inputs([given], given.parent, classes, reading)
    images = ManifestDataset(str(given), split)
    if not images.records:
        raise FileNotFoundError(f"{given}: its split {split!r} is empty")
    return inputs_of(images, classes, str(given))


def inputs_of(images: ImageDataset, classes: Classes, place: str) -> Inputs:
    """The images of a data set, found at `place`, called by their paths below what they share.

    Raises ValueError when its number of classes is not the model's.
    """
    if images.classes.num_classes != classes.num_classes:
        raise ValueError(
            f"{place} has {images.classes.num_classes} classes {images.classes.names}, "
            f"the model {classes.num_classes} {classes.names}"
        )
    files = [record.image.absolute() for record in images.records]
    root = Path(os.path.commonpath([file.parent for file in files]))
    return Inputs(images, output_names(files, root))


def output_names(files: Sequence[Path], root: Path) -> tuple[str, ...]:
    """Each file's path below `root` without its suffix, or with it where names would be equal.

    `a/x.png, a/x.jpg, b/x.jpg` become `a/x.png, a/x.jpg, b/x`. Upper and lower case count as
    equal, since some file systems do not tell them apart.
    """
    places = [file_of(file).relative_to(root) for file in files]
    full = [place.as_posix() for place in places]
    names = [
        place.with_name(name_of(file)).as_posix() for place, file in zip(places, files, strict=True)
    ]
    while True:
        counts = Counter(name.casefold() for name in names)
        longer = [
            whole if counts[name.casefold()] > 1 else name
            for name, whole in zip(names, full, strict=True)
        ]
        if longer == names:
            return tuple(names)
        names = longer


def _inputs(files: Sequence[Path], root: Path, classes: Classes, reading: Reading | None) -> Inputs:
    images = ImageDataset([Record(file) for file in files], classes, reading)
    return Inputs(images, output_names(files, root))


def _images_below(folder: Path) -> list[Path]:
    """Image files and volumes in all depths; what is in the folder of a volume is no image."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in RESULTS)
        volumes = [f for f in folders if is_volume(here / f)]
        folders[:] = [f for f in folders if f not in volumes]
        seen = (f for f in files if not f.startswith(".") and _is_image(here / f))
        found += [here / name for name in (*volumes, *seen)]
    if not found:
        listed = ", ".join(SUFFIXES)
        raise FileNotFoundError(f"{folder}: no image ({listed}) and no volume in it")
    return sorted(found)


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES or is_volume(file)
