"""Masks of classes that overlap, one channel each, from any store; and manifests that say so."""

import json

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from microtome.data.manifest import read_manifest, write_manifest
from microtome.data.records import ManifestError
from microtome.data.stores import ImageReadError, create_image, open_labels
from microtome.data.truth import read_truth
from microtome.geometry import window

RNG = np.random.default_rng(0)
FLAT = RNG.integers(0, 2, (3, 6, 5), np.uint8)  # [K, *S]
DEEP = RNG.integers(0, 2, (2, 4, 6, 5), np.uint8)


def picture(path):
    Image.fromarray(255 * FLAT.transpose(1, 2, 0)).save(path / "mask.png")
    return path / "mask.png"


def stack(path):
    values = DEEP.swapaxes(0, 1)  # ImageJ's order
    tifffile.imwrite(path / "mask.tif", values, imagej=True, metadata={"axes": "ZCYX"})
    return path / "mask.tif"


def store(path):
    made = create_image(
        path / "mask.zarr", DEEP.shape[1:], spacing=None, channels=("a", "b"), dtype="uint8"
    )
    for c in range(2):
        made.write((slice(c, c + 1), *window(DEEP.shape[1:])), DEEP[c : c + 1])
    made.finish()
    return path / "mask.zarr"


def scan(path):
    """NIfTI stores x, y, z and, fourth, whatever is counted."""
    nibabel.save(nibabel.Nifti1Image(DEEP.T, np.eye(4)), path / "mask.nii.gz")
    return path / "mask.nii.gz"


def vectors(path):
    """As the standard says it: the fourth axis is time, the fifth holds vectors. One slice."""
    nibabel.save(nibabel.Nifti1Image(FLAT[:, None, None].T, np.eye(4)), path / "mask.nii")
    return path / "mask.nii"


@pytest.mark.parametrize(
    "write, values",
    [(picture, FLAT), (stack, DEEP), (store, DEEP), (scan, DEEP), (vectors, FLAT)],
    ids=["png", "tiff", "zarr", "nifti", "nifti of vectors"],
)
def test_channels_become_numbers_of_sets(tmp_path, write, values):
    source = open_labels(write(tmp_path), encoding="channels")
    expected = sum(int(2**k) * one for k, one in enumerate(values))
    assert source.shape == values.shape[1:] and source.dtype == np.uint8
    found = source.read(window(source.shape))
    assert found.dtype == np.uint8 and (found == expected).all()
    part = (*(slice(1, 3) for _ in source.shape),)
    assert (source.read(part) == expected[part]).all()


def test_a_time_point_of_nifti_is_one_mask(tmp_path):
    source = open_labels(scan(tmp_path), encoding="channels", time=1)
    assert (source.read(window(source.shape)) == DEEP[1]).all()
    with pytest.raises(ImageReadError, match="time"):
        open_labels(scan(tmp_path))


@pytest.mark.parametrize(
    "values, says",
    [(np.full((4, 4, 3), 7, np.uint8), "0 and 1, or 0 and 255"), (None, "7 channels")],
)
def test_what_are_no_masks_is_refused(tmp_path, values, says):
    path = tmp_path / "x.png"
    if values is None:
        path = tmp_path / "x.tif"
        many = np.zeros((7, 4, 4), np.uint8)
        tifffile.imwrite(path, many, imagej=True, metadata={"axes": "CYX"})
    else:
        Image.fromarray(values).save(path)
    with pytest.raises(ImageReadError, match=says):
        open_labels(path, encoding="channels").read(window((4, 4)))


def manifest(folder, **changed):
    picture(folder)
    Image.fromarray(np.zeros((6, 5, 3), np.uint8)).save(folder / "image.png")
    said = {
        "class_names": ["gland", "tumour", "lumen"],
        "exclusive": False,
        "mask_encoding": "channels",
        "data": {"train": [{"image_path": "image.png", "mask_path": "mask.png"}]},
    }
    (folder / "m.json").write_text(json.dumps(said | changed))
    return folder / "m.json"


def test_a_manifest_says_that_classes_overlap_and_repeats_it(tmp_path):
    found = read_manifest(manifest(tmp_path, colors=[[9, 9, 9], [0, 9, 0], [9, 0, 0]]))
    assert found.classes.members == ("gland", "tumour", "lumen")
    (record,) = found.splits["train"]
    truth = read_truth(record, (6, 5), found.classes, found.reading)
    assert (truth.classes.numpy() == FLAT[0] + 2 * FLAT[1] + 4 * FLAT[2]).all()
    write_manifest(found, tmp_path / "again.json")
    assert read_manifest(tmp_path / "again.json").classes == found.classes
    assert json.loads((tmp_path / "again.json").read_text())["num_classes"] == 3


@pytest.mark.parametrize(
    "changed, says",
    [
        ({"exclusive": "no"}, "exclusive: expected true or false"),
        ({"class_names": [*"abcdefg"]}, "1 to 6 classes that overlap"),
        ({"ignore_index": 3}, "ignore_index 3 is also the class"),
        (
            {"data": {"train": [{"image_path": "image.png", "labels_path": "mask.png"}]}},
            "said by masks",
        ),
    ],
)
def test_manifests_that_cannot_be_meant_are_refused(tmp_path, changed, says):
    with pytest.raises(ManifestError, match=says):
        read_manifest(manifest(tmp_path, **changed))
