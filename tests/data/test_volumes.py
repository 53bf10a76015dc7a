"""Volumes: axes, channels, time, spacing, levels; what is refused, and why."""

from __future__ import annotations

import json

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from written_volumes import write_dicom

from microtome.data.image_dataset import ManifestDataset
from microtome.data.stores import ImageReadError, create_image, open_labels, open_source, volumes
from microtome.data.stores.places import name_of
from microtome.geometry import window

RAW = {"channels": "as_is", "levels": (0, 65535)}
VALUES = np.random.default_rng(0).integers(0, 4000, (3, 5, 2, 20, 30), dtype=np.uint16)  # tzcyx


def raw(source, region=None):
    part = source.read(region or window(source.info.shape))
    return np.rint(part.astype(np.float64) * 65535)


def zarr_array(path, values, **options):
    zarr.create_array(path, data=values, **options)
    return path


def ome(folder, values, axes, units, scale, version="0.5", **more):
    """An OME-Zarr image as others write it, without a mark that it is complete."""
    described = {
        "axes": [{"name": n, "type": t, **u} for (n, t), u in zip(axes, units, strict=True)],
        "datasets": [{"path": "full", "coordinateTransformations": [
            {"type": "scale", "scale": scale}]}],
    }  # fmt: skip
    content = {"multiscales": [described], **more}
    attributes = content if version == "0.4" else {"ome": {"version": version, **content}}
    group = zarr.create_group(folder, zarr_format=2 if version == "0.4" else 3)
    group.attrs.update(attributes)
    group.create_array("full", data=values, chunks=tuple(min(s, 8) for s in values.shape))
    return folder


AXES = (("t", "time"), ("z", "space"), ("c", "channel"), ("y", "space"), ("x", "space"))
UM, NONE = {"unit": "micrometer"}, {}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_of_others(tmp_path, version):
    units = (NONE, {"unit": "nanometer"}, NONE, UM, UM)
    named = {"omero": {"channels": [{"label": "nuclei"}, {"label": "membrane"}]}}
    place = ome(tmp_path / "e.ome.zarr", VALUES, AXES, units, [9, 2000, 1, 0.5, 0.25], version,
                **named)  # fmt: skip
    source = open_source(place, time=2, **RAW)
    info = source.info
    assert (info.name, info.shape, info.spacing) == ("e", (5, 20, 30), (2.0, 0.5, 0.25))
    assert info.channels == ("nuclei", "membrane") and info.dtype == "uint16"
    assert (raw(source) == VALUES[2].transpose(1, 0, 2, 3)).all()
    one = open_source(place, time=0, channels=["membrane"], levels=(0, 65535))
    assert one.info.channels == ("membrane",) and (raw(one)[0] == VALUES[0, :, 1]).all()
    swapped = open_source(place, time=0, channels=[1, 0], levels=(0, 65535))
    assert (raw(swapped) == VALUES[0].transpose(1, 0, 2, 3)[::-1]).all()
    with pytest.raises(ImageReadError, match="holds 3 time points; choose one, from time=0"):
        open_source(place, **RAW)
    with pytest.raises(ImageReadError, match="no time=3"):
        open_source(place, time=3, **RAW)
    with pytest.raises(ImageReadError, match=r"no channels \['actin'\]; it has 0 'nuclei', 1"):
        open_source(place, time=0, channels=["actin"])
    with pytest.raises(ImageReadError, match="which channels='rgb' cannot use"):
        open_source(place, time=0)


def test_spacing_without_a_unit_is_unknown(tmp_path):
    place = ome(tmp_path / "a.zarr", VALUES[0, :, 0], AXES[1:2] + AXES[3:], (NONE,) * 3, [1, 1, 1])
    assert open_source(place).info.spacing is None
    assert open_source(place, spacing=(2, 1, 1)).info.spacing == (2.0, 1.0, 1.0)
    assert open_labels(place, spacing=3).spacing == (3.0, 3.0, 3.0)
    with pytest.raises(ImageReadError, match="spacing: expected 1 or 3 values"):
        open_labels(place, spacing=(1, 1))


def test_chunks_that_others_left_out_are_the_fill_value(tmp_path):
    place = tmp_path / "a.zarr"
    array = zarr.create_array(place, shape=(16, 16), chunks=(8, 8), dtype="uint16", fill_value=7)
    array[:8] = 1
    assert open_labels(place).read(window((16, 16))).sum() == 128 * 1 + 128 * 7
    shards = {"chunks": (4, 4), "shards": (8, 8)}
    array = zarr.create_array(
        tmp_path / "b.zarr", shape=(16, 16), dtype="uint16", fill_value=7, **shards
    )
    array[:4] = 1
    assert open_labels(tmp_path / "b.zarr").read(window((16, 16))).sum() == 64 * 1 + 192 * 7


def test_plain_arrays_take_the_axes_they_name_or_are_told(tmp_path):
    four = VALUES[0]  # zcyx
    named = zarr_array(tmp_path / "n.zarr", four, dimension_names=["z", "c", "y", "x"])
    assert (raw(open_source(named, **RAW)) == four.transpose(1, 0, 2, 3)).all()
    plain = zarr_array(tmp_path / "p.zarr", four)
    assert (raw(open_source(plain, axes="zcyx", **RAW)) == four.transpose(1, 0, 2, 3)).all()
    assert open_source(plain, **RAW).info.shape == (2, 20, 30), "czyx is usual"
    with pytest.raises(ImageReadError, match="does not have the axes 'zyx'"):
        open_source(plain, axes="zyx")
    last = zarr_array(tmp_path / "l.zarr", np.moveaxis(four[:, 0], 0, -1))
    assert (raw(open_source(last, axes="yxz", **RAW))[0] == four[:, 0]).all()
    with pytest.raises(ImageReadError, match="say them, one letter"):
        open_source(zarr_array(tmp_path / "6.zarr", np.zeros((1,) * 6)))


def test_groups_that_are_no_image_say_what_they_hold(tmp_path):
    group = zarr.create_group(tmp_path / "g.zarr")
    group.create_array("raw", data=VALUES[0, 0])
    with pytest.raises(ImageReadError, match="open one of what it holds: raw"):
        open_source(tmp_path / "g.zarr")
    assert open_source(tmp_path / "g.zarr/raw", **RAW).info.name == "raw"
    outer = zarr.create_group(tmp_path / "b.zarr", attributes={"bioformats2raw.layout": 3})
    del outer
    ome(tmp_path / "b.zarr/0", VALUES[0, :, 0], AXES[1:2] + AXES[3:], (UM,) * 3, [1, 1, 1])
    assert open_source(tmp_path / "b.zarr").info.shape == (5, 20, 30)


def test_damaged_metadata_is_one_kind_of_error(tmp_path):
    place = ome(tmp_path / "a.zarr", VALUES[0, :, 0], AXES[1:2] + AXES[3:], (UM,) * 3, [1, 1, 1])
    text = (place / "zarr.json").read_text()
    for wrong in ("", "{", text[:-40], text.replace('"full"', '"gone"'), text.replace("axes", "x"),
                  text.replace('"z"', '"depth"')):  # fmt: skip
        (place / "zarr.json").write_text(wrong)
        with pytest.raises(ImageReadError, match=r"a\.zarr"):
            open_source(place)


def test_claimed_chunks_are_checked_before_they_are_allocated(tmp_path):
    place = zarr_array(tmp_path / "a.zarr", VALUES[0, 0, 0])
    described = json.loads((place / "zarr.json").read_text())
    described["shape"] = described["chunk_grid"]["configuration"]["chunk_shape"] = [10**6, 10**6]
    (place / "zarr.json").write_text(json.dumps(described))
    with pytest.raises(ImageReadError, match="claims chunks of 2,000,000,000,000 bytes"):
        open_labels(place).read(window((5, 5)))


def test_a_url_is_read_by_fsspec():
    place = "memory://some/a.zarr"
    store = zarr.storage.FsspecStore.from_url(place)
    zarr.create_array(store, data=VALUES[0, :, 0], chunks=(2, 8, 8))
    source = open_source(place, **RAW)
    assert source.info.name == "a" and (raw(source)[0] == VALUES[0, :, 0]).all()
    with pytest.raises(ImageReadError, match="memory://no"):
        open_source("memory://no/such.zarr")
    with pytest.raises(ImageReadError, match="nosuch://a"):
        open_source("nosuch://a/b.zarr")


def test_a_missing_chunk_at_a_url_is_an_error_too(tmp_path):
    store = create_image(tmp_path / "a.zarr", (16, 32), spacing=1, chunk=16)
    for x in (0, 16):
        store.write((slice(0, 1), slice(0, 16), slice(x, x + 16)), np.ones((1, 16, 16), int))
    store.finish()
    (tmp_path / "a.zarr/0/c/0/0/1").unlink()
    source = open_source(f"file://{tmp_path}/a.zarr", **RAW)
    assert source.read((slice(0, 16), slice(0, 16))).any()
    with pytest.raises(ImageReadError, match="is missing, though the store says it is complete"):
        source.read((slice(0, 16), slice(10, 20)))


def test_levels_are_measured_on_chunks_spread_over_the_volume(tmp_path):
    ramp = np.broadcast_to(np.arange(400, dtype=np.uint16)[:, None, None], (400, 9, 9))
    place = zarr_array(tmp_path / "a.zarr", np.ascontiguousarray(ramp), chunks=(1, 9, 9))
    source = open_source(place, channels="as_is")
    parts = volumes.spread((400, 9, 9), (1, 9, 9), 64)
    seen = [part[0].start for part in parts]
    assert 50 < len(parts) <= 64 and len(set(np.diff(seen))) == 1, "evenly"
    assert source.intensity.levels == ((seen[0], seen[-1]),) and not source.intensity.stated
    assert source.intensity.mean[0] == pytest.approx(0.5, abs=0.01)
    assert source.read((slice(0, 400), slice(0, 1), slice(0, 1))).max() == 1, "beyond is clipped"
    stated = open_source(place, channels="as_is", levels=(0, 399)).intensity
    assert stated.stated and stated.levels == ((0, 399),)
    bytes_only = zarr_array(tmp_path / "b.zarr", np.zeros((4, 5), np.uint8))
    assert open_source(bytes_only).intensity.levels == ((0, 255),) * 3, "the type says them"


def test_regions_have_no_steps(tmp_path):
    source = open_source(zarr_array(tmp_path / "a.zarr", VALUES[0, 0, 0]))
    with pytest.raises(ValueError, match="2 slices without a step"):
        source.read((slice(0, 9, 2), slice(0, 9)))


def test_nan_and_fractions_are_refused_where_they_are_read(tmp_path):
    values = np.ones((4, 6), np.float32)
    values[3, 5] = np.nan
    place = zarr_array(tmp_path / "a.zarr", values)
    assert open_labels(place).read((slice(0, 3), slice(0, 6))).dtype == np.int64
    for opened in (open_source, open_labels):
        with pytest.raises(ImageReadError, match="NaN or infinite"):
            opened(place).read(window((4, 6)))
    with pytest.raises(ImageReadError, match="holds fractions"):
        open_labels(zarr_array(tmp_path / "b.zarr", values[:2] / 2)).read(window((2, 6)))
    with pytest.raises(ImageReadError, match="negative value -1"):
        open_labels(zarr_array(tmp_path / "c.zarr", -np.ones((2, 6), int))).read(window((2, 6)))
    many = zarr_array(tmp_path / "d.zarr", np.ones((2, 3, 4, 5), int))
    with pytest.raises(ImageReadError, match="has 2 channels, so it is no label map"):
        open_labels(many)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_with_time_and_channels(tmp_path, compression):
    metadata = {"axes": "TZCYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2,
                "Channel": {"Name": ["nuclei", "membrane"]}}  # fmt: skip
    place = tmp_path / "a.ome.tif"
    tifffile.imwrite(place, VALUES, metadata=metadata, compression=compression)
    source = open_source(place, time=1, **RAW)
    assert source.info.spacing == (2.0, 0.5, 0.25) and source.info.name == "a"
    assert source.info.channels == ("nuclei", "membrane")
    assert (raw(source) == VALUES[1].transpose(1, 0, 2, 3)).all()
    part = (slice(1, 4), slice(3, 19), slice(7, 8))
    assert (raw(source, part) == VALUES[1].transpose(1, 0, 2, 3)[(slice(None), *part)]).all()


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_large_colour_tiff_is_read_by_tiles(tmp_path, planar, monkeypatch):
    monkeypatch.setattr("microtome.data.stores.tiff_stacks.WHOLE", 0)
    colour = np.random.default_rng(1).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    stored = colour if planar == "contig" else np.moveaxis(colour, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar,
                     tile=(16, 32), compression="zlib")  # fmt: skip
    source = open_source(tmp_path / "a.tif")
    assert type(source).__name__ == "Volume" and source.info.channels == ("red", "green", "blue")
    part = (slice(10, 40), slice(31, 33))
    expected = np.moveaxis(colour, -1, 0)[(slice(None), *part)] / 255
    np.testing.assert_allclose(source.read(part), expected, atol=1e-6)
    luminance = open_source(tmp_path / "a.tif", channels="grey").read(part)
    np.testing.assert_allclose(luminance[0], np.tensordot([0.299, 0.587, 0.114], expected, 1),
                               atol=1e-5)  # fmt: skip


def test_truncated_stacks_are_refused(tmp_path):
    place = tmp_path / "a.tif"
    tifffile.imwrite(place, VALUES[:, :, 0], metadata={"axes": "TZYX"}, compression="zlib")
    place.write_bytes(place.read_bytes()[:-2000])
    with pytest.raises(ImageReadError, match=r"a\.tif"):
        open_source(place, time=0).read(window((5, 20, 30)))


def test_nifti_keeps_its_affine_and_applies_its_scale(tmp_path):
    values = VALUES[0, :, 0].astype(np.int16)  # zyx
    affine = np.array([[-0.5, 0, 0, 3], [0, 0.75, 0, 4], [0, 0, 2, 5], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(values.T, affine)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(2, -1000)
    nibabel.save(image, tmp_path / "a.nii.gz")
    source = open_source(tmp_path / "a.nii.gz", channels="as_is", levels=(-1000, 9000))
    assert source.info.name == "a" and source.info.shape == (5, 20, 30)
    assert source.info.spacing == (2000.0, 750.0, 500.0), "z, y, x in micrometres"
    assert np.array_equal(source.info.affine, affine)
    np.testing.assert_allclose(source.read(window((5, 20, 30)))[0], 2 * values / 10000, atol=1e-6)
    cut = (tmp_path / "a.nii.gz").read_bytes()[:-300]
    (tmp_path / "cut.nii.gz").write_bytes(cut)
    with pytest.raises(ImageReadError, match=r"cut\.nii"):
        open_source(tmp_path / "cut.nii.gz").read(window((5, 20, 30)))


def test_nifti_that_claims_more_than_it_has_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(VALUES[0, 0, 0], np.eye(4)), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[42:46] = (32000).to_bytes(2, "little") * 2  # dim[1] and dim[2]
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(ImageReadError, match="claims 2,048,000,000 bytes of voxels in a file of"):
        open_source(tmp_path / "a.nii")


def test_the_fourth_axis_of_nifti_is_time_unless_said(tmp_path):
    values = VALUES[:, :, 0]  # tzyx
    nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4)), tmp_path / "a.nii")
    assert (raw(open_source(tmp_path / "a.nii", time=2, **RAW))[0] == values[2]).all()
    assert (raw(open_source(tmp_path / "a.nii", axes="czyx", **RAW)) == values).all()


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


def test_dicom_is_sorted_by_position_and_rescaled(tmp_path):
    values = VALUES[0, :, 0]
    folder = write_dicom(tmp_path / "ct", values, order=[3, 1, 4, 0, 2],
                         RescaleSlope=2, RescaleIntercept=-1024)  # fmt: skip
    source = open_source(folder, channels="as_is", levels=(-1024, 8976))
    assert source.info.spacing == (2500.0, 500.0, 250.0) and source.info.name == "ct"
    np.testing.assert_allclose(source.read(window((5, 20, 30)))[0], 2 * values / 10000, atol=1e-6)
    one = open_source(
        folder / "003.dcm",
        **RAW,
    )
    assert one.info.shape == (20, 30)


def test_dicom_that_would_be_read_wrongly_is_refused(tmp_path):
    values = VALUES[0, :, 0]
    folder = write_dicom(tmp_path / "gap", values, order=[0, 1, 2, 3, 4])
    (folder / "002.dcm").unlink()
    with pytest.raises(ImageReadError, match=r"from 2\.500 to 5\.000 mm: some are missing"):
        open_source(folder)
    both = write_dicom(tmp_path / "two", values[:2])
    write_dicom(both, values[:2], order=[7, 8], SeriesInstanceUID="1.2.3")
    with pytest.raises(ImageReadError, match="holds 2 series"):
        open_source(both)
    inverted = write_dicom(tmp_path / "m1", values[:2], PhotometricInterpretation="MONOCHROME1")
    with pytest.raises(ImageReadError, match="expected one of MONOCHROME2"):
        open_source(inverted)
    short = write_dicom(tmp_path / "cut", values[:2])
    content = (short / "000.dcm").read_bytes()
    (short / "000.dcm").write_bytes(content[:-200])
    with pytest.raises(ImageReadError, match=r"000\.dcm"):
        open_source(short, levels=(0, 1)).read(window((2, 20, 30)))


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
