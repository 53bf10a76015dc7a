"""The manifests of the page about data, on small data in the layouts that it names."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from microtome.data.image_dataset import ImageDataset
from microtome.data.inspection import inspect
from microtome.data.manifest import parse_manifest
from real_layouts import discs, write_coco, write_mask_folders, write_qupath

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "data.md"
BLOCKS = [yaml.safe_load(b) for b in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Every folder that the page names."""
    root = tmp_path_factory.mktemp("page")
    write_mask_folders(root)
    write_qupath(root / "qupath")
    write_coco(root / "coco")
    _write_other_coco(root)
    rows = {"cells": [("image", "number", "type")], "grade": [("name", "grade")]}
    for seed in range(5):
        image, masks = discs(seed)
        numbers = np.zeros(image.shape[:2], np.uint16)
        for number, mask in enumerate(masks, 300):
            numbers[mask] = number
        kinds = {"nuclei": f"{seed}", "glas": f"g{seed}", "isic": f"ISIC_{seed}"}
        written = {"images": image, "labels": numbers, "foreground": 255 * (numbers > 0)}
        written["masks"] = written["foreground"]
        for folder, name in kinds.items():
            for kind, values in written.items():
                path = root / folder / kind / f"{name}{_suffix(folder, kind)}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                values = values if kind in ("images", "labels") else values.astype(np.uint8)
                Image.fromarray(values).save(path)
        types = ("epithelial", "lymphocyte", "unclear")
        found = [n for n in np.unique(numbers) if n]
        rows["cells"] += [(seed, n, types[i % 3]) for i, n in enumerate(found)]
        rows["grade"].append((f"g{seed}", ("benign", "malignant")[seed % 2]))
    for folder, name in (("nuclei", "cells"), ("glas", "grade")):
        with (root / folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows[name])
    return root


def _suffix(folder, kind):
    return "_segmentation" if (folder, kind) == ("isic", "masks") else ""


def _write_other_coco(root):
    """The same kind of data with other pictures."""
    write_coco(root / "coco_val", count=3)
    for file in (root / "coco_val" / "images").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)


@pytest.mark.parametrize(
    "manifest", [b["manifest"] for b in BLOCKS if "manifest" in b], ids=lambda m: str(m["folders"])
)
def test_a_manifest_of_the_page_is_read_and_sound(manifest, place):
    found = parse_manifest(manifest, place)
    data = {s: ImageDataset(r, found.classes, found.reading) for s, r in found.splits.items() if r}
    report = inspect(data, found.classes)
    assert report.problems == (), report.text()
    assert sum(split.images for split in report.splits.values()) >= 5
    first = next(iter(data.values()))
    objects = first[0].truth.instances
    assert ("masks" in manifest["folders"]) == (objects is None)
    if objects is not None:
        assert len(objects) >= 2


def test_the_crops_of_the_page_are_made(tissue):
    from microtome.training.parser import build_data

    (block,) = [b["data"]["init_args"] for b in BLOCKS if "data" in b]
    made = build_data(
        {
            "data": {
                "class_path": "microtome.data.datamodule.ManifestData",
                "init_args": block | {"manifest": str(tissue), "workers": 0},
            }
        }
    )
    crop = made.splits["train"].transforms[0]
    assert (crop.aim.objects, crop.aim.classes, crop.aim.least_visible) == (0.5, 0.25, 0.1)
