"""The folder of predictions: masks, overlays, and what says which run they belong to.

OUT/predictions_masks/NAME.png      class index of each pixel; NAME.tif for a volume
    predictions_overlays/NAME.png   a picture with a legend
    confidence/NAME.tif, NAME.png   when asked for, see `confidence`
    run.json                        the settings, and which image each name stands for

Objects are the matter of `objects.outputs`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image
from torch import Tensor

from ..data.stores import read_labels
from ..files import sweep, whole
from ..geometry import Spacing

MASKS, OVERLAYS, INSTANCES = "predictions_masks", "predictions_overlays", "instances"
CONFIDENCE = "confidence"
RUN = "run.json"


class Outputs:
    """The files of one output folder.

    Args:
        folder: where; made when the first file is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def claim(
        self, settings: Mapping[str, Any], images: Mapping[str, str], *, overwrite: bool
    ) -> None:
        """Write down which run this folder holds; go on with an earlier one if it is the same.

        Args:
            settings: what predictions depend on besides the image; plain data.
            images: the path of the image behind each name.
            overwrite: remove earlier predictions of these images; where the settings differ, all.

        Raises FileExistsError, naming what differs, when the folder holds predictions of another
        run, or of another image with the same name.
        """
        settings = json.loads(json.dumps(settings))
        before = self._earlier()
        if overwrite and before and before["settings"] != settings:
            self._clear()
            before = {}
        if before and not overwrite:
            self._check_same(before, {"settings": settings, "images": images})
        for name in images:
            self._prepare(name, overwrite)
        known = before.get("images", {}) | dict(images)
        self.write_json(RUN, {"settings": settings, "images": known})

    def has(self, name: str) -> bool:
        """Whether an image is done: its overlay is written last."""
        return self._mask(name) is not None and self.drawn(name)

    def drawn(self, name: str) -> bool:
        """Whether an image's overlay is there."""
        return self._overlay(name).is_file()

    def write_classes(self, name: str, classes: Tensor, spacing: Spacing | None) -> None:
        """Write a class map [*S]: PNG for 2D, a TIFF that Fiji opens with its spacing for more.

        8 bits per pixel, 16 when a class is above 255.
        """
        values = classes.numpy()
        values = values.astype(np.uint16 if values.max(initial=0) > 255 else np.uint8)
        picture, volume = self._masks(name)
        flat = values.ndim == 2
        with whole(picture if flat else volume) as part:
            if flat:
                Image.fromarray(values).save(part, format="png")
            else:
                write_tiff(part, values, spacing)

    def read_classes(self, name: str) -> Tensor:
        """Read back what `write_classes` wrote."""
        path = self._mask(name)
        if path is None:
            raise FileNotFoundError(f"{self.folder / MASKS}: nothing called {name}")
        return torch.from_numpy(read_labels(path).astype(np.int32))

    def write_overlay(self, name: str, picture: Image.Image) -> None:
        """Write the picture of an image."""
        with whole(self._overlay(name)) as part:
            picture.save(part, format="png")

    def write_json(self, file: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file, or remove an earlier one when there is nothing to say."""
        if not content:
            (self.folder / file).unlink(missing_ok=True)
            return
        with whole(self.folder / file) as part:
            part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")

    def _masks(self, name: str) -> tuple[Path, Path]:
        """Where a class map may be: of an image, of a volume."""
        return self.folder / MASKS / f"{name}.png", self.folder / MASKS / f"{name}.tif"

    def _mask(self, name: str) -> Path | None:
        return next((path for path in self._masks(name) if path.is_file()), None)

    def _overlay(self, name: str) -> Path:
        return self.folder / OVERLAYS / f"{name}.png"

    def _earlier(self) -> dict[str, Any]:
        run = self.folder / RUN
        if run.is_file():
            return dict(json.loads(run.read_text()))
        if (self.folder / MASKS).exists():
            raise FileExistsError(
                f"{self.folder / MASKS} is there, but no {RUN} that says of which run: "
                "choose another output folder"
            )
        return {}

    def _check_same(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        old, new = before["settings"], now["settings"]
        wrong = [
            f"{key} was {old.get(key)!r} and is now {new.get(key)!r}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]
        wrong += [
            f"{name!r} was {before['images'][name]} and is now {path}"
            for name, path in now["images"].items()
            if before["images"].get(name, path) != path
        ]
        if wrong:
            raise FileExistsError(
                f"{self.folder} holds other predictions ({'; '.join(wrong[:5])}): "
                "choose another output folder, or overwrite it"
            )

    def _prepare(self, name: str, overwrite: bool) -> None:
        for file in (self._overlay(name), *self._masks(name)):
            sweep(file.parent)
            if overwrite:
                file.unlink(missing_ok=True)

    def _clear(self) -> None:
        """Remove predictions; only called where `run.json` says that they are ours."""
        for folder in (MASKS, OVERLAYS, INSTANCES, CONFIDENCE):
            if (self.folder / folder).exists():
                shutil.rmtree(self.folder / folder)
        (self.folder / RUN).unlink()


def write_tiff(path: Path, values: np.ndarray[Any, Any], spacing: Spacing | None) -> None:
    """Write (z,) y, x for ImageJ, deflated; its resolution is in pixels per micrometre."""
    metadata: dict[str, Any] = {"axes": "ZYX"[-values.ndim :]}
    resolution = None
    if spacing is not None:
        metadata |= {"unit": "um", **({"spacing": spacing[0]} if values.ndim > 2 else {})}
        resolution = (1 / spacing[-1], 1 / spacing[-2])
    tifffile.imwrite(
        path, values, imagej=True, compression="zlib", metadata=metadata, resolution=resolution
    )
