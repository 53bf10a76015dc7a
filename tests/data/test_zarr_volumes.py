"""Zarr that others wrote: axes, channels, spacing, levels, URLs; what is refused, and why."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from written_volumes import RAW, VALUES, raw, zarr_array

from microtome.data.stores import ImageReadError, create_image, open_labels, open_source, volumes
from microtome.geometry import window


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
