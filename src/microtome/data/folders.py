"""Folders of images, masks and label maps, paired by name."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .objects.outlines import SUFFIXES as OUTLINES
from .objects.outlines import read_coco
from .records import ManifestError, Record
from .stores import ImageReadError
from .stores.archives import files_below, is_folder, size_of
from .stores.image_files import SUFFIXES
from .stores.places import name_of
from .tables import Column


class Folders(NamedTuple):
    """Where images and what belongs to them lie; subfolders are searched too.

    A folder may lie inside a zip file: `data.zip/images`.

    Files are paired by stem when all stems of the images are different, else by their path below
    the folder without the ending.

    Attributes:
        images: folder of images.
        masks: folder of masks (class of each pixel), or None; may be `images` itself.
        labels: folder of label maps (number of each object) or of QuPath's GeoJSON, or None.
        mask_suffix: what follows the image's stem in a mask's: "_segmentation".
        labels_suffix: the same for label maps.
        object_masks: where each image has a folder with one mask file for each object, seen from
            the image's own folder, "{name}" being its stem: "../masks", "../masks/{name}".
        annotations: a file of COCO's, which lists the images; their masks are outlines in it.
        skip_unpaired: leave out what has no partner, instead of refusing.
        group_table: where each image's group stands.
        group_pattern: a regular expression that finds the group in an image's stem: its first
            bracket, or all of it.
    """

    images: Path
    masks: Path | None = None
    labels: Path | None = None
    mask_suffix: str = ""
    labels_suffix: str = ""
    object_masks: str | None = None
    annotations: Path | None = None
    skip_unpaired: bool = False
    group_table: Column | None = None
    group_pattern: str | None = None

    def records(self) -> list[Record]:
        """Pair the files, in the order of their names.

        Raises ManifestError listing all files without a partner or a group.
        """
        if self.annotations is not None:
            return self._listed(self.annotations)
        images, problems = self._images()
        partners = {}
        if self.object_masks is not None:
            partners["labels"] = {k: self._objects_of(v) for k, v in images.items()}
        for kind, folder, suffix in self._truths():
            found, wrong = _by_key(folder, suffix, by_stem=_stems_differ(images))
            problems += wrong
            if not self.skip_unpaired:
                problems += [f"image without {kind}: {images[k]}" for k in images if k not in found]
                problems += [f"{kind} without image: {found[k]}" for k in found if k not in images]
            images = {k: v for k, v in images.items() if k in found or not self.skip_unpaired}
            partners[kind] = found
        groups, wrong = self._groups(images)
        if problems + wrong:
            raise ManifestError(self.images, problems + wrong)
        return [
            Record(
                image,
                partners.get("mask", {}).get(key),
                partners.get("labels", {}).get(key),
                groups.get(key),
            )
            for key, image in sorted(images.items())
        ]

    def _listed(self, annotations: Path) -> list[Record]:
        """The images that a file of COCO's lists."""
        try:
            listed = read_coco(annotations).images
        except ImageReadError as error:
            raise ManifestError(error.file, [error.reason]) from None
        images = {i.file_name: self.images / i.file_name for i in listed}
        if self.skip_unpaired:
            images = {k: v for k, v in images.items() if size_of(v) is not None}
        groups, problems = self._groups(images)
        if not images:
            problems.append("no image that it lists is there" if listed else "lists no image")
        if problems:
            raise ManifestError(annotations, problems)
        return [Record(v, None, annotations, groups.get(k)) for k, v in sorted(images.items())]

    def _objects_of(self, image: Path) -> Path:
        """The folder with the masks of an image's objects."""
        below = (self.object_masks or "").replace("{name}", name_of(image))
        return Path(os.path.normpath(image.parent / below))

    def _truths(self) -> list[tuple[str, Path, str]]:
        given = (
            ("mask", self.masks, self.mask_suffix),
            ("labels", self.labels, self.labels_suffix),
        )
        return [(kind, folder, suffix) for kind, folder, suffix in given if folder is not None]

    def _images(self) -> tuple[dict[str, Path], list[str]]:
        """Images by key, without the masks and labels that lie among them."""
        truths = self._truths()
        same = [kind for kind, folder, suffix in truths if folder == self.images and not suffix]
        if same:
            return {}, [f"{' and '.join(same)} in the images' own folder need a suffix"]
        if not is_folder(self.images):
            return {}, ["no such folder"]
        mine = [
            file
            for file in _files(self.images)
            if not any(_is_truth(file, self.images, folder, suffix) for _, folder, suffix in truths)
        ]
        if self.object_masks is not None:
            theirs = {self._objects_of(file) for file in mine}
            mine = [file for file in mine if not theirs.intersection(file.parents)]
        stems = {name_of(f) for f in mine}
        images, problems = _keyed(mine, self.images, "", by_stem=len(stems) == len(mine))
        return images, problems if images else [*problems, f"no image ({', '.join(SUFFIXES)})"]

    def _groups(self, images: Mapping[str, Path]) -> tuple[dict[str, str], list[str]]:
        """Groups by key, and a problem for each image without one."""
        if self.group_table is not None:
            try:
                table = self.group_table.read()
            except ManifestError as error:
                return {}, [str(error)]
            found = {k: table.get(name_of(v), "") for k, v in images.items()}
            where = f"{self.group_table.csv}, column {self.group_table.column!r}"
        elif self.group_pattern is not None:
            matches = {k: re.search(self.group_pattern, name_of(v)) for k, v in images.items()}
            found = {k: m[1 if m.re.groups else 0] or "" for k, m in matches.items() if m}
            where = f"the pattern {self.group_pattern!r}"
        else:
            return {}, []
        missing = [f"no group for {images[k]} by {where}" for k in images if not found.get(k)]
        return found, missing


def _files(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """Image files in all depths; not hidden ones, such as macOS's `._x.png`."""
    found = (p for p in files_below(folder) if p.name.lower().endswith(suffixes))
    return sorted(p for p in found if not p.name.startswith("."))


def _is_truth(file: Path, images: Path, folder: Path, suffix: str) -> bool:
    """Whether a file below `images` is a mask: by its name, or by a mask folder inside `images`."""
    if folder == images:
        return name_of(file).endswith(suffix)
    return folder.is_relative_to(images) and file.is_relative_to(folder)


def _stems_differ(images: Mapping[str, Path]) -> bool:
    return all(key == name_of(file) for key, file in images.items())


def _by_key(folder: Path, suffix: str, *, by_stem: bool) -> tuple[dict[str, Path], list[str]]:
    if not is_folder(folder):
        return {}, [f"no such folder: {folder}"]
    files = [f for f in _files(folder, (*SUFFIXES, *OUTLINES)) if _stem(f).endswith(suffix)]
    return _keyed(files, folder, suffix, by_stem=by_stem)


def _keyed(
    files: list[Path], folder: Path, suffix: str, *, by_stem: bool
) -> tuple[dict[str, Path], list[str]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        stem = _stem(file).removesuffix(suffix)
        near = file.with_name(stem).relative_to(folder).as_posix()
        found[stem if by_stem else near].append(file)
    twice = [f"the same name twice: {', '.join(map(str, v))}" for v in found.values() if v[1:]]
    return {k: v[0] for k, v in found.items()}, twice


def _stem(file: Path) -> str:
    """What the file's image is called; `.geojson.gz` is one ending."""
    ending = next((e for e in OUTLINES if file.name.lower().endswith(e)), None)
    return name_of(file) if ending is None else file.name[: -len(ending)]
