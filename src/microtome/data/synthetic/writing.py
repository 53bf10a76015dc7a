"""Drawings as files, as a user's data would lie: images/, masks/, labels/ and manifest.json."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from ...files import whole
from ...geometry import Spacing
from ...structures import Classes
from .samples import Drawings, SyntheticNuclei, SyntheticTissue

Save = Callable[[Path, npt.NDArray[Any], Classes], None]


def write_tissue(
    folder: str | os.PathLike[str], counts: Mapping[str, int], size: int = 256, seed: int = 0
) -> Path:
    """Write stained sections as PNG, the masks in the colours of their classes.

    Args:
        folder: where; made if it is not there.
        counts: how many images each split gets, e.g. `{"train": 48, "val": 8, "test": 8}`.
        size: of the square images.
        seed: other seeds draw other images.

    Returns the path of manifest.json.
    """
    make = partial(SyntheticTissue, size=size, seed=seed)
    return _write(Path(folder), _split(make, counts), ".png", _save_png)


def write_nuclei(
    folder: str | os.PathLike[str],
    counts: Mapping[str, int],
    shape: Sequence[int] = (20, 80, 80),
    spacing: Sequence[float] = (2.0, 0.5, 0.5),
    seed: int = 0,
) -> Path:
    """Write volumes of nuclei as TIFF with ImageJ's metadata: axes and spacing.

    Args:
        folder: where; made if it is not there.
        counts: how many volumes each split gets.
        shape: z, y, x in voxels.
        spacing: z, y, x in µm; ImageJ knows one value for y and x.
        seed: other seeds draw other volumes.

    Returns the path of manifest.json. Raises ValueError when the spacings of y and x differ.
    """
    if spacing[-2] != spacing[-1]:
        raise ValueError(f"expected equal spacings of y and x, got {tuple(spacing)}")
    make = partial(SyntheticNuclei, shape=shape, spacing=spacing, seed=seed)
    save = partial(_save_tiff, spacing=tuple(spacing))
    return _write(Path(folder), _split(make, counts), ".tif", save)


def _split(make: Callable[..., Drawings], counts: Mapping[str, int]) -> dict[str, Drawings]:
    """Consecutive ranges of one sequence of images."""
    starts = np.cumsum([0, *counts.values()]).tolist()
    return {
        name: make(length=count, start=start)
        for (name, count), start in zip(counts.items(), starts, strict=False)
    }


def _write(folder: Path, splits: dict[str, Drawings], suffix: str, save: Save) -> Path:
    data = {
        name: [_write_one(folder, drawings, i, suffix, save) for i in range(len(drawings))]
        for name, drawings in splits.items()
    }
    first = next(iter(splits.values()))
    manifest = {
        "num_classes": first.classes.num_classes,
        "class_names": first.classes.names,
        "colors": first.classes.palette,
        "spacing_um": first.spacing,
        "channels": "grey" if len(first.channels) == 1 else "rgb",
        "data": data,
    }
    with whole(folder / "manifest.json") as part:
        part.write_text(json.dumps(manifest, indent=1) + "\n")
    return folder / "manifest.json"


def _write_one(
    folder: Path, drawings: Drawings, item: int, suffix: str, save: Save
) -> dict[str, str]:
    """Write the three files of one drawing; their manifest entry."""
    drawing = drawings.draw(item)
    if drawing.ids.max() > 65535:
        raise ValueError(f"{drawing.ids.max()} objects do not fit 16 bits: draw smaller images")
    parts = {
        "image": drawing.image,
        "mask": drawing.classes,
        "labels": drawing.ids.astype(np.uint16),
    }
    entry = {}
    for kind, values in parts.items():
        name = f"{kind.removesuffix('s')}s/{drawings.name_of(item)}{suffix}"
        with whole(folder / name) as part:
            save(part, values, drawings.classes)
        entry[f"{kind}_path"] = name
    return entry


def _save_png(path: Path, values: npt.NDArray[Any], classes: Classes) -> None:
    """Image [3, y, x], mask [y, x] uint8 (with a palette), labels [y, x] uint16."""
    picture = Image.fromarray(np.moveaxis(values, 0, -1).copy() if values.ndim == 3 else values)
    if picture.mode == "L":
        picture.putpalette([value for colour in classes.palette for value in colour])
    picture.save(path)


def _save_tiff(path: Path, values: npt.NDArray[Any], classes: Classes, spacing: Spacing) -> None:
    """Image [1, z, y, x], mask and labels [z, y, x]; ImageJ counts pixels per µm."""
    tifffile.imwrite(
        path,
        values.reshape(values.shape[-3:]),
        imagej=True,
        resolution=(1 / spacing[-1], 1 / spacing[-2]),
        metadata={"axes": "ZYX", "spacing": spacing[0], "unit": "um"},
    )
