"""The files of the objects of many images.

OUT/instances/NAME.tif            the ids, with the scale
    instances/NAME.ome.zarr       the same with a pyramid, for volumes of any size
    instances/NAME.csv, .parquet  a row for each object
    instances/NAME.coco.json      run lengths
    instances/NAME.geojson        polygons, for QuPath
    objects.csv                   the rows of all images
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...data.stores import ImageReadError, open_labels
from ...files import sweep
from ...structures import Classes, Instances, LabelLayers
from ..outputs import INSTANCES
from .coco import write_coco
from .found import FoundObjects
from .geojson import write_geojson
from .maps import layer_path, read_tiff, read_zarr, write_tiff, write_zarr
from .measuring import measure
from .table import join_csv, read_csv, table, write_csv, write_parquet

ALL = "objects.csv"
SUFFIXES = {
    "tif": ".tif",
    "zarr": ".ome.zarr",
    "coco": ".coco.json",
    "geojson": ".geojson",
    "parquet": ".parquet",
    "csv": ".csv",
}
FORMATS, DEFAULT = tuple(SUFFIXES), ("tif", "csv")
MAPS = ("tif", "zarr")


class ObjectOutputs:
    """Writes objects in the formats that are asked for.

    Args:
        folder: the output folder; made when the first file is written.
        classes: names and colours.
        formats: of `FORMATS`. A CSV table is always written, and a TIFF where no map is asked for:
            without them a run that was killed could not go on.

    Raises ValueError for formats there are not.
    """

    def __init__(
        self, folder: str | Path, classes: Classes, formats: Sequence[str] = DEFAULT
    ) -> None:
        unknown = [one for one in formats if one not in SUFFIXES]
        if unknown:
            raise ValueError(
                f"objects: there is no format {', '.join(unknown)}; choose of {', '.join(FORMATS)}"
            )
        self.folder, self.classes = Path(folder), classes
        chosen = {*formats, "csv"} | (set() if {*MAPS} & {*formats} else {"tif"})
        self.formats = tuple(one for one in FORMATS if one in chosen)

    def path(self, name: str, format: str) -> Path:
        """Where an image's objects stand in a format."""
        return self.folder / INSTANCES / f"{name}{SUFFIXES[format]}"

    def has(self, name: str) -> bool:
        """Whether everything asked for is there; the table is written last."""
        return all(self.path(name, one).exists() for one in self.formats)

    def write(self, name: str, found: FoundObjects) -> None:
        """Write an image's objects; an OME-Zarr that is there already and complete is kept.

        So a prediction that went straight into `path(name, "zarr")` only gets the rest.
        """
        measured = measure(found)
        columns = table(name, found, measured, self.classes)
        for one in self.formats:
            target = self.path(name, one)
            if one == "tif":
                write_tiff(target, found)
            elif one == "zarr" and not _complete(target):
                write_zarr(target, found)
            elif one == "coco":
                write_coco(target, name, found, measured, self.classes)
            elif one == "geojson":
                write_geojson(target, name, found, measured, self.classes)
            elif one == "parquet":
                write_parquet(target, columns)
            elif one == "csv":
                write_csv(target, columns)

    def read(self, name: str) -> Instances:
        """Read back what was written, into memory: ids, classes, scores and masks."""
        rows = read_csv(self.path(name, "csv"))
        ids = torch.tensor([int(row["id"]) for row in rows], dtype=torch.int64)
        kinds = [self.classes.names.index(row["class"]) for row in rows]
        scores = None
        if rows and rows[0]["score"]:
            scores = torch.tensor([float(row["score"]) for row in rows])
        masks = LabelLayers(_numbered(self._maps(name), ids), ids)
        return Instances(torch.tensor(kinds, dtype=torch.int64), scores=scores, masks=masks)

    def clear(self, names: Iterable[str]) -> None:
        """Remove what earlier runs wrote for these images, and what killed ones left."""
        for name in names:
            for one in FORMATS:
                path = self.path(name, one)
                sweep(path.parent)
                path.unlink(missing_ok=True) if one != "zarr" else _remove_layers(path)

    def finish(self, names: Iterable[str]) -> None:
        """Write `objects.csv` from the tables of the images that have one."""
        parts = [path for name in names if (path := self.path(name, "csv")).is_file()]
        if parts:
            join_csv(self.folder / ALL, parts)

    def _maps(self, name: str) -> npt.NDArray[np.int64]:
        """[K, *S] ids."""
        if "tif" in self.formats:
            return read_tiff(self.path(name, "tif")).astype(np.int64)
        return read_zarr(self.path(name, "zarr")).astype(np.int64)


def _complete(path: Path) -> bool:
    """Whether an OME-Zarr is there that was written to its end."""
    try:
        open_labels(path)
    except ImageReadError:
        return False
    return True


def _remove_layers(path: Path) -> None:
    layer = 0
    while (own := layer_path(path, layer)).exists() or layer == 0:
        shutil.rmtree(own, ignore_errors=True)
        layer += 1


def _numbered(maps: npt.NDArray[np.int64], ids: Tensor) -> Tensor:
    """Replace ids by their places 1…N in the table."""
    known = np.append(0, ids.numpy())
    order = np.argsort(known)
    return torch.from_numpy(order.astype(np.int32)[np.searchsorted(known[order], maps)])
