"""What volumes of all formats share: names, regions, manifests; HDF5; formats of makers."""

from __future__ import annotations

import json

import h5py
import nibabel
import numpy as np
import pytest
from written_volumes import RAW, VALUES, raw, zarr_array

from microtome.data.image_dataset import ManifestDataset
from microtome.data.stores import ImageReadError, open_labels, open_source
from microtome.data.stores.places import name_of


def test_regions_have_no_steps(tmp_path):
    source = open_source(zarr_array(tmp_path / "a.zarr", VALUES[0, 0, 0]))
    with pytest.raises(ValueError, match="2 slices without a step"):
        source.read((slice(0, 9, 2), slice(0, 9)))


def test_hdf5_axes_spacing_and_names(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        raw_set = file.create_dataset("in/raw", data=VALUES[0])
        raw_set.attrs["element_size_um"] = [2, 0.5, 0.25]
        keys = [{"key": letter} for letter in "zcyx"]
        raw_set.attrs["axistags"] = json.dumps({"axes": keys})
        labelled = file.create_dataset("label", data=VALUES[0, :, 0])
        for axis, letter in enumerate("zyx"):
            labelled.dims[axis].label = letter
        file.create_dataset("row", data=np.zeros(3))
    source = open_source(f"{tmp_path}/a.h5:/in/raw", **RAW)
    assert source.info.name == "a_in_raw" and source.info.spacing == (2.0, 0.5, 0.25)
    assert (raw(source) == VALUES[0].transpose(1, 0, 2, 3)).all()
    assert open_labels(f"{tmp_path}/a.h5:label").spacing is None
    with pytest.raises(ImageReadError, match=r"holds 2 arrays; name one: .*a\.h5:/in/raw, .*label"):
        open_source(tmp_path / "a.h5")
    for wrong in ("no", "row", "in"):
        with pytest.raises(ImageReadError, match=f"has no array '{wrong}'; it has"):
            open_source(f"{tmp_path}/a.h5:{wrong}")
    (tmp_path / "b.h5").write_bytes(b"nothing of the kind")
    with pytest.raises(ImageReadError, match=r"b\.h5.*cannot be read"):
        open_source(tmp_path / "b.h5:raw")


@pytest.mark.parametrize("name", ["a.czi", "b.ims", "c.svs", "d.ndpi", "e.lif", "f.nd2"])
def test_formats_of_makers_name_the_command_that_converts_them(tmp_path, name):
    (tmp_path / name).write_bytes(b"II*\0")
    for opened in (open_source, open_labels):
        with pytest.raises(ImageReadError, match=f"`bioformats2raw {name} {name[0]}.zarr`"):
            opened(tmp_path / name)


def test_folders_that_are_nothing_known(tmp_path):
    with pytest.raises(ImageReadError, match="neither zarr nor a DICOM series"):
        open_source(tmp_path)


def test_a_manifest_may_list_volumes(tmp_path):
    ids = (VALUES[0, :, 0] > 3000).astype(np.uint16)
    nibabel.save(nibabel.Nifti1Image(VALUES[0, :, 0].T, np.eye(4)), tmp_path / "a.nii.gz")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["label"] = ids
    zarr_array(tmp_path / "mask.zarr", ids)
    entries = {
        "train": [{"image_path": "a.nii.gz", "labels_path": "a.h5:/label"}],
        "val": [{"image_path": "a.nii.gz", "mask_path": "mask.zarr"}],
    }
    described = {"num_classes": 2, "class_names": ["rest", "cell"], "data": entries}
    (tmp_path / "m.json").write_text(json.dumps(described))
    for split in entries:
        sample = ManifestDataset(str(tmp_path / "m.json"), split).load(0)
        assert sample.image.shape == (3, 5, 20, 30) and sample.spacing == (1000.0,) * 3
        assert (sample.truth.classes.numpy() == ids).all() and sample.meta["name"] == "a"


def test_names_of_volumes():
    expected = {"x/a.ome.zarr": "a", "a.nii.gz": "a", "a.h5:/in/raw": "a_in_raw", "b.h5": "b",
                "s3://bucket/c.zarr/": "c", "d.ome.tif": "d"}  # fmt: skip
    assert {path: name_of(path) for path in expected} == expected
