"""Samples from files, and the inspection that tells all problems at once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from microtome.data.datasets import SampleDataset
from microtome.data.image_dataset import ImageDataset, ManifestDataset
from microtome.data.inspection import inspect
from microtome.data.manifest import parse_manifest, write_manifest
from microtome.data.records import Catalogue, Reading, Record
from microtome.data.stores import ImageReadError
from microtome.structures import Classes, DataSample, Segmentation

TWO = Classes(("rest", "cell"))
THREE = Classes(("rest", "cell", "nucleus"))
HALF = np.zeros((20, 30), np.uint8)
HALF[:, 15:] = 1


def picture(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if array.ndim == 3:
        tifffile.imwrite(path, array, photometric="minisblack", metadata={"axes": "ZYX"})
    else:
        Image.fromarray(array).save(path)
    return path


def pair(root, name, mask=HALF, image=None, **more):
    if image is None:  # no two alike
        image = np.full(mask.shape, 50 + sum(map(ord, name)) % 100, np.uint8)
    files = picture(root / f"{name}.png", image), picture(root / f"{name}_m.png", mask)
    return Record(*files, **more)


def report(classes=TWO, reading=None, **splits):
    return inspect({k: ImageDataset(v, classes, reading) for k, v in splits.items()}, classes)


# ── samples ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("shape", [(20, 30), (4, 20, 30)])
def test_a_sample_from_image_and_mask(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    mask = np.where(np.arange(30) < 10, 0, np.where(np.arange(30) < 20, 128, 255))
    mask = np.broadcast_to(mask, shape).astype(np.uint8)
    suffix = "tif" if len(shape) == 3 else "png"
    record = Record(
        picture(tmp_path / f"a.{suffix}", image), picture(tmp_path / f"m.{suffix}", mask), spacing=2
    )
    reading = Reading("as_is", spacing=0.5, mask_values={0: 0, 128: 255, 255: 1})
    sample = ImageDataset([record], TWO, reading)[0]
    assert sample.image.shape == (1, *shape) and sample.image.dtype == torch.float32
    np.testing.assert_allclose(sample.image[0], image / 255.0, atol=1e-6)
    assert sample.truth.classes.dtype == torch.int64
    assert sample.truth.classes.reshape(-1, 30)[0].tolist() == [0] * 10 + [255] * 10 + [1] * 10
    assert sample.spacing == (2.0,) * len(shape) and sample.truth.instances is None
    assert sample.meta == {"name": "a", "path": str(record.image)}
    assert sample.intensity.levels == ((0.0, 255.0),)


@pytest.mark.parametrize("shape", [(20, 30), (4, 20, 30)])
def test_labels_alone_get_the_value_of_their_record(tmp_path, shape):
    ids = np.zeros(shape, np.uint16)
    ids[..., :5, :5], ids[..., 10:12, :] = 700, 3
    suffix = "tif" if len(shape) == 3 else "png"
    image = picture(tmp_path / f"a.{suffix}", np.zeros(shape, np.uint8))
    record = Record(image, labels=picture(tmp_path / f"l.{suffix}", ids), value=2)
    truth = ImageDataset([record], THREE)[0].truth
    assert (truth.classes.numpy() == np.where(ids > 0, 2, 0)).all()
    assert truth.instances.labels.tolist() == [2, 2]
    assert truth.instances.masks.ids.tolist() == [3, 700], "the ids of the file are kept"
    assert (truth.instances.masks.maps[0].numpy() > 0).sum() == (ids > 0).sum()


def test_with_mask_and_labels_an_object_has_the_class_of_most_of_its_judged_pixels(tmp_path):
    ids, mask = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    ids[0:4, 0:4], mask[0:4, 0:4], mask[0, 0:4] = 5, 1, 2  # 12 pixels of 1, 4 of 2
    ids[8:12, 8:12], mask[8:12, 8:12], mask[8, 8] = 6, 255, 2  # one judged pixel
    ids[16:18, 16:18], mask[16:18, 16:18] = 9, 255  # none
    record = pair(tmp_path, "a", mask)._replace(labels=picture(tmp_path / "l.png", ids))
    instances = ImageDataset([record], THREE)[0].truth.instances
    assert instances.masks.ids.tolist() == [5, 6] and instances.labels.tolist() == [1, 2]
    assert (instances.masks.maps[0] > 0).sum() == 32, "ignored pixels stay part of their object"


def test_truth_may_be_missing(tmp_path):
    record = Record(picture(tmp_path / "a.png", HALF))
    assert ImageDataset([record], TWO)[0].truth is None


def test_what_does_not_fit_names_the_file(tmp_path):
    wrong = pair(tmp_path, "a", HALF * 7)
    with pytest.raises(ImageReadError, match=r"a_m\.png: .*neither classes \(0 to 1\).*255: 7"):
        ImageDataset([wrong], TWO)[0]
    with pytest.raises(ImageReadError, match="mask_values does not name: 7"):
        ImageDataset([wrong], TWO, Reading(mask_values={0: 0, 1: 1}))[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(HALF).save(tmp_path / "t.png", exif=exif)
    turned = Record(tmp_path / "t.png", wrong.mask)
    with pytest.raises(ImageReadError, match=r"is 20 x 30 pixels, but its image 30 x 20.*EXIF"):
        ImageDataset([turned], TWO)[0]


def test_a_manifest_as_a_data_set(tmp_path):
    splits = {"train": (pair(tmp_path, "a"),), "val": (), "test": ()}
    write_manifest(Catalogue(TWO, splits), tmp_path / "set.json")
    data = ManifestDataset(str(tmp_path / "set.json"), "train")
    assert len(data) == 1 and data.classes == TWO and data[0].meta["name"] == "a"
    with pytest.raises(ValueError, match="did you mean 'train'"):
        ManifestDataset(str(tmp_path / "set.json"), "trian")


# ── inspection ───────────────────────────────────────────────────────────────────────────────────
def test_a_sound_data_set_and_its_facts(tmp_path):
    dark, light = (np.full((20, 30), v, np.uint8) for v in (51, 153))
    ignoring = HALF.copy()
    ignoring[0] = 255
    found = report(
        train=[pair(tmp_path, "a", image=dark), pair(tmp_path, "b", ignoring, light)],
        val=[pair(tmp_path, "c", image=light + 1)],
    )
    assert found.problems == () and found.warnings == ()
    train = found.splits["train"]
    assert train.pixels == (300 + 285, 300 + 285, 30) and train.occurs == (2, 2, 1)
    assert train.among == (1170, 1170, 570), "judged pixels of the images that show the class"
    assert train.smallest == train.largest == (20, 30) and train.spacings == (None,)
    assert found.mean == pytest.approx((0.4,) * 3, abs=1e-6), "of the training images alone"
    assert found.std == pytest.approx((0.2,) * 3, abs=1e-6)
    assert found.facts()["images"] == {"train": 2, "val": 1}
    assert found.as_dict()["splits"]["val"]["pixels"] == (300, 300, 0)
    for expected in ("20 x 30", "cell", "48.75% (2)", "no problems", "0.400 ± 0.200"):
        assert expected in found.text()


def test_all_problems_are_told_at_once(tmp_path):
    good = pair(tmp_path, "good", group="p1")
    broken = tmp_path / "broken.png"
    broken.write_bytes(good.image.read_bytes()[:40])
    found = report(
        train=[
            good,
            Record(tmp_path / "absent.png", good.mask),
            Record(broken, tmp_path / "absent_m.png"),
            pair(tmp_path, "values", HALF * 9),
            Record(pair(tmp_path, "small", HALF[:5]).image, good.mask),
            Record(good.image),
        ],
        val=[pair(tmp_path, "other", group="p1"), good],
    )
    told = "\n".join(found.problems)
    for expected in (
        "train: " + str(tmp_path / "absent.png") + ": no such file",
        "broken.png: is not a PNG, JPEG, BMP or TIFF image, or damaged",
        "absent_m.png: no such file",
        "values_m.png: holds values that are neither classes (0 to 1) nor ignore_index 255: 9",
        "good_m.png: is 20 x 30 pixels, but its image 5 x 30",
        "train: 1 without mask or labels: good",
        "group p1 is in train and val",
        f"image {good.image} is in train and val",
    ):
        assert expected in told
    assert len(found.problems) == 8 and len(found.warnings) == 1, "of images without a group"
    assert found.text().count("\n  - ") == 9


def test_a_text_of_hundreds_of_problems_is_cut_but_the_report_is_not(tmp_path):
    absent = [Record(tmp_path / f"{i}.png", tmp_path / "m.png") for i in range(40)]
    found = report(train=absent)
    assert len(found.problems) == 80 and "80 problems" in found.text()
    assert "... and 30 more" in found.text() and found.mean == ()


@pytest.mark.parametrize("classes", [TWO, Classes(("a", "b"), ignore_index=254)])
def test_masks_of_0_and_255_get_the_line_to_add(tmp_path, classes):
    records = [pair(tmp_path, n, m) for n, m in (("a", HALF * 255), ("b", HALF * 0))]
    found = report(classes, train=records)
    assert '"mask_values": {"0": 0, "255": 1}' in found.problems[0]
    assert "mask_values: {0: 0, 255: 1}" in found.text()
    mapped = report(classes, Reading(mask_values={0: 0, 255: 1}), train=records)
    assert mapped.problems == () and mapped.splits["train"].pixels == (900, 300, 0)
    some = report(TWO, train=[*records, pair(tmp_path, "c")])
    assert some.problems == (), "elsewhere there is foreground, so 255 may mean ignored"


def test_unlike_images(tmp_path):
    flat = pair(tmp_path, "a", spacing=0.5)
    deep = Record(
        picture(tmp_path / "v.tif", np.zeros((3, 20, 30), np.uint16)),
        picture(tmp_path / "v_m.tif", np.stack([HALF] * 3)),
    )
    colour = pair(tmp_path, "c", image=np.zeros((20, 30), np.uint8), spacing=0.5)
    Image.new("RGB", (30, 20)).save(colour.image)
    found = report(TWO, Reading("as_is"), train=[flat, deep, colour])
    told = "\n".join(found.problems)
    assert "spacing is known for 2 of 3 images, not for v" in told
    assert "channel counts differ: 2 images with 1, 1 images with 3" in told
    assert "numbers of spatial axes differ: 2 with 2, 1 with 3" in told
    assert "2 of uint8, 1 of uint16" in found.warnings[0] and len(found.problems) == 3


def test_classes_that_never_occur_and_objects(tmp_path):
    ids = np.zeros((20, 30), np.uint8)
    ids[:5], ids[10:] = 1, 200
    image = picture(tmp_path / "a.png", HALF)
    record = Record(image, labels=picture(tmp_path / "l.png", ids), value=2)
    found = report(THREE, train=[record])
    assert found.warnings == ("train: never occurs, so it cannot be learnt: cell",)
    assert found.splits["train"].objects == (2,) and "2 to 2" in found.text()
    assert found.splits["train"].pixels == (150, 0, 450, 0)


class Generated(SampleDataset):
    """Not made of files."""

    classes = TWO

    def __init__(self, *class_maps):
        super().__init__()
        self.class_maps = class_maps

    def __len__(self):
        return len(self.class_maps)

    def load(self, item):
        class_map = torch.from_numpy(self.class_maps[item].astype(np.int64))
        return DataSample(
            torch.zeros(1, *class_map.shape), Segmentation(class_map), meta={"name": f"g{item}"}
        )


def test_data_sets_without_files_are_inspected_too():
    found = inspect({"train": Generated(HALF, HALF * 3)}, TWO)
    assert found.splits["train"].images == 2 and len(found.problems) == 1
    assert "g1: holds values" in found.problems[0] and found.mean == ()


def test_fingerprint_progress_and_workers(tmp_path):
    records = [pair(tmp_path, n) for n in "abcdef"]
    calls = []
    data = {"train": ImageDataset(records[:4], TWO), "val": ImageDataset(records[4:], TWO)}
    first = inspect(data, TWO, progress=lambda *c: calls.append(c), workers=3)
    assert calls == [(i, 6) for i in range(1, 7)]
    assert inspect(data, TWO, workers=1) == first
    data = {"train": ImageDataset(records[:5], TWO), "val": ImageDataset(records[5:], TWO)}
    assert inspect(data, TWO).fingerprint != first.fingerprint


# ── real images ──────────────────────────────────────────────────────────────────────────────────
def real(name):
    root = Path(os.environ.get("MICROTOME_TEST_DATA", "")) / name
    if "MICROTOME_TEST_DATA" not in os.environ or not root.is_dir():
        pytest.skip(f"MICROTOME_TEST_DATA names no folder with {name}")
    return root


BOTH = {"images": "images", "labels": "labels"}
GRADES = {"csv": "grade.csv", "key": "name", "column": "grade"}
REAL = {
    "derm_isic2018_512": {
        "mask_values": {"0": 0, "255": 1},
        "folders": {"images": "images", "masks": "masks", "mask_suffix": "_segmentation"},
        "split": {"val": {"last": 60}},
    },
    "he_glas": {
        "num_classes": 3,
        "spacing_um": 0.62,
        "class_table": GRADES | {"values": {"benign": 1, "malignant": 2}},
        "folders": BOTH | {"group_table": GRADES | {"column": "patient_id"}},
        "split": {"val": {"groups": [1, 3, 9]}},
    },
    "he_monuseg": {"spacing_um": 0.25, "folders": BOTH, "split": {"val": {"fraction": 0.3}}},
    "fluo_dsb2018": {"folders": BOTH, "split": {"val": {"fraction": 0.3}}},
    "vol_bbbc050_mouse_embryo": {
        "channels": "as_is",
        "spacing_um": [1.75, 0.8, 0.8],
        "folders": BOTH | {"group_pattern": "Emb.."},
        "split": {"val": {"groups": ["Emb05"]}},
    },
}


@pytest.mark.parametrize("name", REAL)
def test_real_images_have_no_problems(name):
    found = parse_manifest({"num_classes": 2} | REAL[name], real(name))
    data = {s: ImageDataset(r, found.classes, found.reading) for s, r in found.splits.items() if r}
    result = inspect(data, found.classes)
    assert result.problems == (), result.text()
    assert all(sum(split.pixels[1:-1]) > 0 for split in result.splits.values())
    sample = data["val"][0]
    assert sample.truth.classes.shape == sample.shape and sample.image.min() >= 0


def test_a_split_without_a_judged_pixel_is_a_problem(tmp_path):
    nothing = pair(tmp_path, "b", np.full((20, 30), 255, np.uint8))
    found = report(train=[pair(tmp_path, "a")], val=[nothing])
    assert any(p.startswith("val: every pixel is ignored") for p in found.problems)


def test_of_many_classes_those_that_occur_are_told(tmp_path):
    many = Classes(tuple(f"class {i}" for i in range(40)))
    text = report(many, train=[pair(tmp_path, "a")]).text()
    assert "class 1 " in text and "class 31 " not in text and "and 30 more classes" in text
