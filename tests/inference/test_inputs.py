from __future__ import annotations

import json
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import zarr
from PIL import Image

from microtome.inference.inputs import find_inputs, output_names
from microtome.structures import Classes

CLASSES = Classes(("back", "front"))


def draw(*files):
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(file)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a.png", "b/a.png"], ["a", "b/a"]),
        (["x.jpg", "x.png", "b/x.png"], ["x.jpg", "x.png", "b/x"]),
        (["x.jpg", "x.png", "x.jpg.tif"], ["x.jpg", "x.png", "x.jpg.tif"]),
        (["x.jpg", "X.png"], ["x.jpg", "X.png"]),
        (["v.ome.tif", "slide.1.png"], ["v", "slide.1"]),
        (["v.ome.tif", "v.tif"], ["v.ome.tif", "v.tif"]),
    ],
)
def test_names_are_unique_and_keep_folders(files, names):
    root = Path("/data")
    assert output_names([root / f for f in files], root) == tuple(names)


def test_a_volume_is_one_image(tmp_path):
    zarr.create_array(tmp_path / "v.zarr", data=np.zeros((2, 4, 3), np.uint8))
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["raw"] = np.zeros((2, 4, 3), np.uint8)
    for path, name in ((tmp_path / "v.zarr", "v"), (f"{tmp_path}/w.h5:/raw", "w_raw")):
        found = find_inputs(path, CLASSES)
        assert found.names == (name,) and found.images.source(0).info.shape == (2, 4, 3)


def test_a_folder_without_hidden_files_and_earlier_predictions(tmp_path):
    draw(tmp_path / "b" / "2.png", tmp_path / "1.jpg", tmp_path / ".hidden.png")
    draw(tmp_path / ".cache" / "3.png", tmp_path / "out" / "predictions_masks" / "1.png")
    (tmp_path / "notes.txt").write_text("no image")
    inputs = find_inputs(tmp_path, CLASSES)
    assert inputs.names == ("1", "b/2")
    assert inputs.images.source(1).info.shape == (3, 4)


def test_a_folder_of_volumes(tmp_path):
    """Each is one image, whatever lies inside of it; results of earlier runs are none."""
    values = np.zeros((2, 4, 3), np.uint8)
    for place in ("a.zarr", "deep/b.zarr", "predictions_masks/a.ome.zarr", ".old/c.zarr"):
        zarr.create_array(tmp_path / place, data=values)
    draw(tmp_path / "deep" / "b.zarr" / "thumbnail.png", tmp_path / "deep" / "slide.png")
    nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4)), tmp_path / "scan.nii.gz")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["raw"] = values
    inputs = find_inputs(tmp_path, CLASSES)
    assert inputs.names == ("a", "deep/b", "deep/slide", "scan", "w")
    shapes = [inputs.images.source(item).info.shape for item in (0, 1, 3, 4)]
    assert shapes == [(2, 4, 3)] * 4


def test_one_file(tmp_path):
    draw(tmp_path / "1.jpg", tmp_path / "2.jpg")
    assert find_inputs(tmp_path / "1.jpg", CLASSES).names == ("1",)


def test_the_test_split_of_a_manifest(tmp_path):
    draw(tmp_path / "a" / "1.png", tmp_path / "b" / "1.png", tmp_path / "b" / "2.png")
    manifest = tmp_path / "data.json"
    entries = [{"image_path": p, "mask_path": None} for p in ("a/1.png", "b/1.png")]
    data = {"train": [{"image_path": "b/2.png"}], "test": entries}
    manifest.write_text(json.dumps({"num_classes": 2, "data": data}))
    assert find_inputs(manifest, CLASSES).names == ("a/1", "b/1")
    assert find_inputs(manifest, CLASSES, split="train").names == ("2",)
    with pytest.raises(FileNotFoundError, match="split 'val' is empty"):
        find_inputs(manifest, CLASSES, split="val")
    with pytest.raises(ValueError, match=r"has 2 classes .* the model 3"):
        find_inputs(manifest, Classes(("a", "b", "c")))


def test_nothing_to_predict(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        find_inputs(tmp_path / "missing.png", CLASSES)
    with pytest.raises(FileNotFoundError, match="no image"):
        find_inputs(tmp_path, CLASSES)
