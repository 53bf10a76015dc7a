"""Small generated data in the layouts that public data sets are published in."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

COLUMNS = ("Idx", "Ratio", "Train", "Val", "Name")
SYNONYMS = {1: "wall", 2: "building, edifice", 3: "sky", 9: "windowpane, window ", 150: "flag"}


def write_ade20k(folder: Path, size=(40, 56), train=4, val=2, packed=False) -> Path:
    """ADEChallengeData2016: four classes in quarters, 0 in the middle; a folder or a zip file."""
    root = folder / "ADEChallengeData2016"
    for split, count in (("training", train), ("validation", val)):
        images, masks = root / "images" / split, root / "annotations" / split
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for i in range(1, count + 1):
            stem = f"ADE_{'train' if split == 'training' else 'val'}_{i:08}"
            mask, image = _scene(size, i + 100 * (split == "validation"))
            Image.fromarray(image).save(images / f"{stem}.jpg")
            Image.fromarray(mask).save(masks / f"{stem}.png")
    rows = [(i, "0.1", 9, 9, SYNONYMS.get(i, f"thing {i}")) for i in range(1, 151)]
    table = "\n".join("\t".join(map(str, row)) for row in (COLUMNS, *rows))
    (root / "objectInfo150.txt").write_text(table + "\n")
    if not packed:
        return root
    archive = folder / "ADEChallengeData2016.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in [root, *sorted(root.rglob("*"))]:
            file.write(path, path.relative_to(folder))
    return archive


def _scene(size, seed):
    """Classes 1, 2, 3 and 150 in quarters that turn with the seed, each of its own colour."""
    y, x = np.mgrid[: size[0], : size[1]]
    quarter = 2 * (y >= size[0] // 2) + (x >= size[1] // 2)
    mask = np.array([1, 2, 3, 150], np.uint8)[(quarter + seed) % 4]
    colours = np.random.default_rng(9).integers(40, 215, (151, 3))
    noise = np.random.default_rng(seed).integers(-9, 10, (*size, 3))
    mask[(abs(y - size[0] // 2) < 3) & (abs(x - size[1] // 2) < 3)] = 0
    return mask, (colours[mask] + noise).astype(np.uint8)


def write_ade20k_full(folder: Path, size=(30, 44)) -> Path:
    """ADE20K_2021_17_01: class = R // 10 * 256 + G, with parts and masks of single objects."""
    root = folder / "ADE20K_2021_17_01"
    named = {312: "building, edifice", 2420: "sky", 401: "car, auto", 3050: "car, railcar"}
    for split, prefix in (("training", "train"), ("validation", "val")):
        for i in range(2):
            place = root / "images" / "ADE" / split / "urban" / "street"
            stem = f"ADE_{prefix}_{i:08}"
            (place / stem).mkdir(parents=True)
            index = np.array([0, *named])[np.arange(size[1]) * 5 // size[1]] * np.ones(size, int)
            coded = np.stack([index // 256 * 10, index % 256, (index > 0) * 7], -1)
            image = np.random.default_rng((i, len(split))).integers(0, 255, (*size, 3))
            Image.fromarray(image.astype(np.uint8)).save(place / f"{stem}.jpg")
            for name in (
                f"{stem}_seg.png",
                f"{stem}_parts_1.png",
                f"{stem}/instance_000_{stem}.png",
            ):
                Image.fromarray(coded.astype(np.uint8)).save(place / name.format(stem))
            objects = [_object(k, name, 0) for k, name in named.items()] + [_object(9, "door", 1)]
            described = {"annotation": {"filename": f"{stem}.jpg", "object": objects}}
            (place / f"{stem}.json").write_text(json.dumps(described))
    return root


def _object(index, name, level):
    return {"name_ndx": index, "name": name, "parts": {"part_level": level}}


def write_lunghist700(folder: Path, size=(24, 32)) -> Path:
    """LungHist700: data.csv, and images/CLASS/CLASS_MAGNIFICATION_NUMBER.jpg."""
    root = folder / "data"
    rows = []
    kinds = [("nor", "")] + [
        (kind, grade) for kind in ("aca", "scc") for grade in ("bd", "md", "pd")
    ]
    patients = (2, 6, 9, 1)  # at 20x: to train, to validate, to test, to validate
    for number, (kind, grade) in enumerate(kinds * 4):
        name = f"{kind}_{grade}".strip("_")
        patient = patients[number // len(kinds)]
        for magnification in ("20x", "40x"):
            place = root / "images" / name
            place.mkdir(parents=True, exist_ok=True)
            stain = np.random.default_rng(kinds.index((kind, grade))).integers(90, 230, 3)
            noise = np.random.default_rng(number).integers(-20, 20, (*size, 3))
            image = (stain + noise).astype(np.uint8)
            Image.fromarray(image).save(place / f"{name}_{magnification}_{number}.jpg")
            rows.append((kind, grade, magnification, number, patient))
    with (root / "data.csv").open("w", newline="") as file:
        header = ("superclass", "subclass", "resolution", "image_id", "patient_id")
        csv.writer(file).writerows([header, *rows])
    return root


def discs(seed, size=(48, 64), count=4):
    """A dark picture [y, x, 3] with bright discs, and their masks; the third overlaps the first."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    masks, first = [], None
    for number in range(count):
        row, column, radius = (int(rng.integers(6, n - 6)) for n in (*size, 16))
        first = first or (row, column)
        if number == 2:
            row, column = first[0], first[1] + 4
        masks.append((y - row) ** 2 + (x - column) ** 2 < radius**2)
    image = 30 + 150 * np.any(masks, 0)[..., None] + rng.integers(0, 20, (*size, 3))
    return image.astype(np.uint8), masks


def write_mask_folders(folder: Path, count=6) -> Path:
    """Data Science Bowl 2018: ID/images/ID.png beside ID/masks/*.png, one for each nucleus."""
    root = folder / "stage1_train"
    for seed in range(count):
        image, masks = discs(seed)
        for kind in ("images", "masks"):
            (root / f"id{seed}" / kind).mkdir(parents=True)
        Image.fromarray(image).save(root / f"id{seed}" / "images" / f"id{seed}.png")
        for number, mask in enumerate(masks):
            file = root / f"id{seed}" / "masks" / f"{number:x}a.png"
            Image.fromarray((255 * mask).astype(np.uint8)).save(file)
    return root


def write_coco(folder: Path, count=6) -> Path:
    """COCO: pictures, and instances.json with categories 3 and 17, outlines, and one crowd."""
    from microtome.structures.polygons import coco_segmentation
    from microtome.structures.rle import encode_rle

    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for seed in range(count):
        image, masks = discs(seed)
        name = f"{seed:012}.png"
        Image.fromarray(image).save(folder / "images" / name)
        height, width = image.shape[:2]
        images.append({"id": 100 + seed, "file_name": name, "height": height, "width": width})
        for number, mask in enumerate(masks):
            crowd = number == 3
            annotations.append(
                {
                    "id": 70_000 + 10 * seed + number,
                    "image_id": 100 + seed,
                    "category_id": 17 if number == 1 else 3,
                    "iscrowd": int(crowd),
                    "segmentation": encode_rle(mask) if crowd else coco_segmentation(mask),
                }
            )
    categories = [{"id": 17, "name": "mitosis"}, {"id": 3, "name": "nucleus"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


def write_qupath(folder: Path, count=6) -> Path:
    """QuPath: pictures, and a GeoJSON for each with classified outlines, one with a hole."""
    from microtome.structures.polygons import to_polygons

    for kind in ("images", "annotations"):
        (folder / kind).mkdir(parents=True)
    for seed in range(count):
        image, masks = discs(seed)
        Image.fromarray(image).save(folder / "images" / f"slide{seed}.png")
        masks[0][tuple(int(c.mean()) for c in masks[0].nonzero())] = False
        features = []
        for number, mask in enumerate(masks):
            (polygon,) = to_polygons(mask)
            rings = [np.append(r, r[:1], 0)[:, ::-1].tolist() for r in (polygon[0], *polygon[1])]
            word = {"name": "Stroma" if number == 1 else "Tumor", "color": [200, 0, 0]}
            features.append(
                {
                    "type": "Feature",
                    "id": f"{seed}-{number}",
                    "geometry": {"type": "Polygon", "coordinates": rings},
                    "properties": {"objectType": "annotation", "classification": word},
                }
            )
        file = folder / "annotations" / f"slide{seed}.geojson"
        file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return folder


def write_embryos(folder: Path, shape=(9, 24, 28), specimens=(1, 2, 4), minutes=(201, 351)) -> Path:
    """BBBC050: images/EmbXX_tTTT.tif and labels/ of the same names, uint16 z y x, no metadata."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for specimen in specimens:
        for minute in minutes:
            labels, image = _nuclei(shape, 1000 * specimen + minute)
            name = f"Emb{specimen:02}_t{minute}.tif"
            tifffile.imwrite(folder / "labels" / name, labels, compression="zlib")
            tifffile.imwrite(folder / "images" / name, image, compression="zlib")
    return folder


def _nuclei(shape, seed):
    """Three bright spheroids, flat in z, with numbers that have gaps."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.mgrid[tuple(map(slice, shape))], -1)
    labels = np.zeros(shape, np.uint16)
    for number in (3, 7, 1200):
        centre = rng.uniform(0.2, 0.8, 3) * shape
        labels[(((places - centre) / (2, 5, 5)) ** 2).sum(-1) < 1] = number
    image = 90 + 400 * (labels > 0) + rng.integers(0, 30, shape)
    return labels, image.astype(np.uint16)
