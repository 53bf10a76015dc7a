"""The plain table of a data set: which files belong together, and how they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from ..structures import Classes
from .manifest_error import ManifestError
from .stores.channels import ChannelPolicy
from .stores.decoded import Levels
from .stores.label_files import Encoding
from .stores.places import file_of, name_of
from .tables import ObjectTable

__all__ = [
    "SPLITS",
    "Catalogue",
    "LabelsEncoding",
    "ManifestError",
    "Reading",
    "Record",
    "unique_names",
]

SPLITS = ("train", "val", "test")
LabelsEncoding = Literal["index", "components"]


class Record(NamedTuple):
    """The files of one image; a path may be a URL, which `places.place_of` knows again.

    Attributes:
        image: the image file.
        mask: class of each pixel; None when unknown or when `labels` or `value` say it.
        labels: what says the objects; `microtome.data.objects` lists the forms. Often a map with
            the object's number of each pixel, 0 for none.
        group: what must not be torn apart by a split: a patient, a slide.
        value: the class of the objects in `labels` where neither a mask nor anything else says it;
            the class of the whole image where there are no labels either.
        spacing: micrometres per pixel of this image, where it differs from the data set's.
        time: which time point of the image file, where it holds several.
    """

    image: Path
    mask: Path | None = None
    labels: Path | None = None
    group: str | None = None
    value: int | None = None
    spacing: float | tuple[float, ...] | None = None
    time: int | None = None

    @property
    def name(self) -> str:
        """The image's stem."""
        return name_of(self.image)

    @property
    def has_truth(self) -> bool:
        """Whether anything says what is in the image."""
        return any(part is not None for part in (self.mask, self.labels, self.value))


@dataclass(frozen=True)
class Reading:
    """How all files of a data set are read.

    Attributes:
        channels: the channel policy of `open_source`.
        levels: raw black and white, one pair or one per channel; None follows the type.
        spacing: micrometres per pixel, one value or one per axis; None asks the files.
        mask_values: class of each value in the masks; None when they are the same.
        mask_encoding: how the pixels of the masks say those values; see `read_labels`.
        labels_encoding: of label maps: `index`, a value is an object's number; `components`, each
            connected region of one value is an object.
        object_classes: class of each word that a file has for objects, where it is not the class's
            own name; 0 leaves such objects out, `ignore_index` makes them regions not judged.
        object_table: where the class of each single object stands.
    """

    channels: ChannelPolicy = "rgb"
    levels: Levels | tuple[Levels, ...] | None = None
    spacing: float | tuple[float, ...] | None = None
    mask_values: Mapping[int, int] | None = None
    mask_encoding: Encoding = "index"
    labels_encoding: LabelsEncoding = "index"
    object_classes: Mapping[str, int] | None = None
    object_table: ObjectTable | None = None


class Catalogue(NamedTuple):
    """A whole data set: its class table, its records by split, and how they are read."""

    classes: Classes
    splits: dict[str, tuple[Record, ...]]
    reading: Reading = Reading()


def unique_names(records: Iterable[Record]) -> list[str]:
    """The images' stems; where those repeat, with as many folders before them as it takes."""
    images = [r.image for r in records]
    parts = {i: _parts(i) for i in images}
    depth = dict.fromkeys(parts, 1)
    while True:
        names = {i: "_".join(p[-depth[i] :]) for i, p in parts.items()}
        counts = Counter(names.values())
        short = [i for i, n in names.items() if counts[n] > 1 and depth[i] < len(parts[i])]
        if not short:
            return [names[i] for i in images]
        for image in short:
            depth[image] += 1


def _parts(image: Path) -> tuple[str, ...]:
    """Folders and stem, without what cannot stand in a file's name."""
    folders = (p for p in file_of(image).parent.parts if not p.endswith(":"))  # of a URL
    return (*(p for p in folders if p not in ("..", image.anchor)), name_of(image))
