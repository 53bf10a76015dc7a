"""ADE20K (Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017): photographs of scenes.

Two layouts are read, each as a folder or as the zip file it came in, which stays packed:

- ADEChallengeData2016, the benchmark: `images/{training,validation}/*.jpg`,
  `annotations/{training,validation}/*.png` with 0 for what is not judged and 1 to 150 for the
  classes that `objectInfo150.txt` names;
- ADE20K_2021_17_01, everything: `images/ADE/{training,validation}/…/*.jpg`, and beside each
  `*_seg.png`, whose red and green say an index, and `*.json`, which names the indices.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..structures import Classes
from .ade20k_colours import COLOURS
from .datamodule import CatalogueData
from .folders import Folders
from .records import Catalogue, ManifestError, Reading, Record
from .stores import ImageReadError
from .stores.archives import files_below, is_folder, size_of, text_of

BENCHMARK, FULL = "ADEChallengeData2016", "ADE20K_2021_17_01"
NAMES = "objectInfo150.txt"
FOLDERS = {"train": "training", "val": "validation"}
MOST = 25 * 256 + 255  # the highest index that red and green can say


class ADE20KDataModule(CatalogueData):
    """ADE20K: the benchmark's 150 classes, or every class of the full release.

    Args:
        root: the folder, or the zip file.
        options: as for DataModule.

    Raises ManifestError listing everything wrong with the data's layout.
    """

    def __init__(self, root: str, **options: Any) -> None:
        super().__init__(read_ade20k(Path(root)), **options)

    def located(self, options: dict[str, Any]) -> dict[str, Any]:
        """The same arguments with an absolute path."""
        return options | {"root": str(Path(options["root"]).absolute())}


def read_ade20k(root: Path) -> Catalogue:
    """Find images, masks and class table below `root`, or in the folder of the release inside it.

    Raises ManifestError listing everything wrong with the layout.
    """
    try:
        for top in (root, root / BENCHMARK, root / FULL):
            if size_of(top / NAMES) is not None:
                return _benchmark(top)
            if is_folder(top / "images" / "ADE"):
                return _full(top)
    except ImageReadError as error:
        raise ManifestError(error.file, [error.reason]) from None
    expected = f"expected {NAMES} ({BENCHMARK}) or images/ADE ({FULL}) in the folder or zip file"
    raise ManifestError(root, [expected if root.exists() else "no such file or folder"])


def _benchmark(top: Path) -> Catalogue:
    names = _listed(top / NAMES)
    classes = Classes(names, colours=COLOURS if len(names) == len(COLOURS) else ())
    splits: dict[str, tuple[Record, ...]] = {"test": ()}
    problems: list[str] = []
    for split, folder in FOLDERS.items():
        try:
            found = Folders(top / "images" / folder, top / "annotations" / folder).records()
            splits[split] = tuple(found)
        except ManifestError as error:
            problems += [f"{error.source}: {problem}" for problem in error.problems]
    if problems:
        raise ManifestError(top, problems)
    indices = range(1, classes.num_classes + 1)
    return Catalogue(classes, splits, _reading(indices, classes))


def _listed(file: Path) -> tuple[str, ...]:
    """The names in `objectInfo150.txt`: a table with tabs, its indices counting from 1."""
    rows = list(csv.DictReader(text_of(file).splitlines(), delimiter="\t"))
    indices = [(row.get("Idx") or "").strip() for row in rows]
    if not rows or indices != [str(i + 1) for i in range(len(rows))]:
        raise ManifestError(file, ["expected the columns Idx, counting from 1, and Name"])
    return _short([row.get("Name") or "" for row in rows])


def _full(top: Path) -> Catalogue:
    found = {
        split: sorted(p for p in files_below(folder) if p.suffix == ".jpg")
        for split, name in FOLDERS.items()
        if is_folder(folder := top / "images" / "ADE" / name)
    }
    named: dict[int, str] = {}
    problems: list[str] = []
    for image in (image for images in found.values() for image in images):
        try:
            named |= _indices(image.with_suffix(".json"))
        except ImageReadError as error:
            problems.append(str(error))
    if problems or not named:
        raise ManifestError(top, problems or ["no image with a .json beside it"])
    ordered = sorted(named)
    ignore = 255 if len(ordered) <= 255 else 65_535
    classes = Classes(_short([named[i] for i in ordered]), ignore_index=ignore)
    splits = {split: tuple(map(_beside, images)) for split, images in found.items()}
    splits = {"train": (), "val": (), "test": ()} | splits
    return Catalogue(classes, splits, _reading(ordered, classes, full=True))


def _beside(image: Path) -> Record:
    return Record(image, image.with_name(f"{image.stem}_seg.png"))


def _indices(file: Path) -> dict[int, str]:
    """The names of the whole objects in one image by index; parts stand in other pictures."""
    try:
        objects = json.loads(text_of(file))["annotation"]["object"]
        found = {o["name_ndx"]: o["name"] for o in objects if o["parts"]["part_level"] == 0}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ImageReadError(file, f"is not as in {FULL} ({error!r})") from None
    for index, name in found.items():
        if type(index) is not int or not 0 < index <= MOST or not isinstance(name, str):
            raise ImageReadError(file, f"expected a name and an index to {MOST}, got {index!r}")
    return found


def _short(names: Sequence[str]) -> tuple[str, ...]:
    """The first of a name's synonyms, or all of them where the first would stand twice."""
    first = [name.split(",")[0].strip() for name in names]
    counts = Counter(first)
    return tuple(
        short if counts[short] == 1 else name.strip()
        for short, name in zip(first, names, strict=True)
    )


def _reading(indices: Iterable[int], classes: Classes, *, full: bool = False) -> Reading:
    """Index 0 is not judged; the others are classes in their order."""
    values = {0: classes.ignore_index} | {index: k for k, index in enumerate(indices)}
    return Reading(mask_values=values, mask_encoding="ade20k" if full else "index")
