"""Samples from files: image, mask, objects, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from written_pairs import HALF, THREE, TWO, pair, picture

from microtome.data.image_dataset import ImageDataset, ManifestDataset
from microtome.data.manifest import write_manifest
from microtome.data.records import Catalogue, Reading, Record
from microtome.data.stores import ImageReadError


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
